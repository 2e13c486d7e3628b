"""Facts of a machine that reports less than Linux on a PC."""

from fastgd.bench import machine


def test_facts_without_files_of_linux(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "Path", lambda path: tmp_path / path.lstrip("/"))
    monkeypatch.delattr(machine.os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(machine.os, "cpu_count", lambda: 3)
    facts = machine.describe()
    assert facts["cpu"]
    assert (facts["cores"], facts["caches"], facts["virtual"]) == (3, {}, False)
    assert (machine.reset_peak_memory(), machine.peak_memory()) == (0, 0)


def test_caches_without_a_size_are_left_out(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "Path", lambda path: tmp_path / path.lstrip("/"))
    for index, files in enumerate([{"level": "1", "type": "Data"}, {"level": "2", "type": "Unified", "size": "512K"}]):
        folder = tmp_path / f"sys/devices/system/cpu/cpu0/cache/index{index}"
        folder.mkdir(parents=True)
        for name, text in files.items():
            (folder / name).write_text(f"{text}\n")
    assert machine.describe()["caches"] == {"L2 unified": "512K"}
