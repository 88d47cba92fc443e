"""What tries the pages notices when they are wrong."""

from pathlib import Path

import pytest

from tests.integration.docs.likeness import Names
from tests.integration.docs.page import Changed, Once, Saved, Seen, Typed, acts_of

JOB = "job/8a103d33-48f9-489f-b9b3-391cb7f5514f"
ANOTHER = "job/00000000-48f9-489f-b9b3-391cb7f5514f"

PAGE = """\
<!-- file: a/b.py -->
```python
x = 1
```
<!-- change: a/b.py -->
```diff
 x = 1
+y = 2
```
<!-- background -->
```console
$ run it \\
    --long
shown
```
```text
seen
```
<!-- once: seen -->
<!-- elsewhere: no -->
```console
$ never
```
"""


def test_a_page_is_read_in_its_order(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)

    assert list(acts_of(page)) == [
        Saved("a/b.py", "x = 1\n"),
        Changed("a/b.py", "x = 1\n", "x = 1\ny = 2\n"),
        Typed("run it \\\n    --long", "shown", is_background=True),
        Seen(("seen",)),
        Once("seen"),
    ]


def test_a_comment_that_nobody_reads_is_an_error(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- onec: seen -->\n")

    with pytest.raises(AssertionError, match="onec"):
        list(acts_of(page))


@pytest.mark.parametrize(
    ("printed", "happened"),
    [
        ('{"status":"done"}', '{"status":"pending"}'),
        ("total 6997", "total 5998"),
        ("a.b", "axb"),
        ('{"n":1}', '{"n":1} and more'),
        ("… says: Hello", "process 7 says: Goodbye"),
        ('{"rowCount":12}', '{"rowCount":"many"}'),
    ],
)
def test_what_differs_is_not_found(printed: str, happened: str) -> None:
    assert not Names().found(printed, happened, whole=True)


@pytest.mark.parametrize(
    ("printed", "happened"),
    [
        ('{"rowCount":43935,"at":1795296060412}', '{"rowCount":7,"at":1795296999999}'),
        ("21:21:02.942 info", "09:01:59.001 info"),
        ("from … to end", "from here\nand there to end"),
        ("order-1795296074662", "order-1795296074663"),
    ],
)
def test_what_differs_each_time_is_not_compared(printed: str, happened: str) -> None:
    assert Names().found(printed, happened, whole=True)


def test_a_name_stands_for_one_thing() -> None:
    names = Names()

    assert names.found("process 10 met process 11", "process 77 met process 78", whole=True)
    assert not names.found("process 10 again", "process 78 again", whole=True)
    assert names.translated("kill -9 10 11") == "kill -9 77 78"


def test_an_id_is_the_same_wherever_it_comes_on_one_page() -> None:
    names = Names()

    assert not names.found(f"{JOB} is {JOB}", f"{ANOTHER} is {JOB}", whole=True)
    assert names.found(f"id {JOB}", f"id {ANOTHER}", whole=True)
    assert names.translated(f"GET /jobs/{JOB}?wait=1") == f"GET /jobs/{ANOTHER}?wait=1"
