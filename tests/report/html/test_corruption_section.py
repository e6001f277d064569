"""The section on corrupted images: what the file says, or why there is nothing to say."""

from pathlib import Path

from numclip_lightning.report.html.corrupted import corruption_section
from numclip_lightning.report.html.elements import Table
from numclip_lightning.report.html.page import page_of
from numclip_lightning.report.reading import read_run
from support.predicted import predictions

ROWS = "kind,strength,images,mae,ratio\nclean,0,40,2,1\nnoise,1,40,4,2\nnoise,3,40,12,6\nblur,1,40,2.5,1.25\n"


def test_the_table_has_a_row_for_each_kind_and_their_mean(tmp_path: Path) -> None:
    predictions(40).to_csv(tmp_path / "test_predictions.csv", index=False)
    without = corruption_section([read_run(tmp_path)])
    assert "numclip test --corrupt" in without.missing

    (tmp_path / "corruptions.csv").write_text(ROWS, encoding="utf-8")
    run = read_run(tmp_path)
    section = corruption_section([run])
    ((_, (table, _)),) = section.parts
    assert isinstance(table, Table)
    assert list(table.columns) == ["Corruption", "Strength 1", "Strength 3", "Mean"]
    shown = [[cell.text for cell in row] for row in table.rows]
    assert shown[0] == ["noise", "2.00", "6.00", "4.00"]
    assert shown[1][0] == "blur"
    assert shown[1][1] == shown[1][3] == "1.25"
    assert shown[2][:2] == ["mean", "1.62"]
    assert [table.rows[0][place].share for place in (1, 2)] == [0.25, 1.0]
    assert "What if the images are worse?" in page_of([run], load=None, command="numclip report")
