"""The loops of fastgd on the CPU, one file an access pattern."""
