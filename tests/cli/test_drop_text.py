"""``--drop-text``: what it leaves out and why, and a warning where most values are numbers."""

import json


def test_text_is_listed_and_numbers_among_text_are_warned_of(call, tmp_path):
    rows = "".join(f"{i},{'n/k' if i == 40 else i % 7},w{i},{i % 5}.5\n" for i in range(60))
    (tmp_path / "t.csv").write_text(f"a,price,word,y\n{rows}")
    done = call("fit", "t.csv", "--target", "y", "--drop-text", "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["columns_dropped"] == ["price", "word"]
    (note,) = facts["notes"]
    assert note == "--drop-text leaves out 'price' (text: 'n/k' in line 42), 'word' (text: 'w0' in line 2)"
    (warning,) = facts["warnings"]
    assert warning.startswith("column 'price' is left out as text, but most of its values are numbers: ")
    assert "--null n/k" in warning
