"""The loops of fastgd on the CPU, one file per pattern of memory access."""
