"""Data: empty, upload and mapping, refused files, the server folder, the saved dataset."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path

import pytest

from recsys_core.errors import BadInput, NotFound
from recsys_core.store import Workspace
from ui import uploads

HEADER = "userId,movieId,rating,timestamp\n"


def _ratings(n_users: int = 30, n_items: int = 20) -> bytes:
    rows = [f"{u},{i},{1 + (u * i) % 5},{1_400_000_000 + 3600 * (u + i)}" for u in range(n_users) for i in range(n_items) if (u + i) % 2]
    return (HEADER + "\n".join(rows) + "\n").encode()


def _upload(at, name: str, content: bytes):
    at.file_uploader[0].upload(name, content).run()
    assert not at.exception
    return at


def test_empty_workspace_asks_for_a_file(open_page, text_of) -> None:
    at = open_page("data")
    assert "Choose a file" in text_of(at) and len(at.file_uploader) == 1
    assert not at.segmented_control, "there is nothing saved to switch to"


def test_upload_is_guessed_shown_and_saved(open_page, text_of, workspace_root) -> None:
    at = _upload(open_page("data"), "ml.csv", _ratings())
    roles = {box.label: box.value for box in at.selectbox}
    assert (roles["User"], roles["Item"], roles["Value (optional)"], roles["Time (optional)"]) == (
        "userId",
        "movieId",
        "rating",
        "timestamp",
    )
    text = text_of(at)
    assert r"First **2014-05-13" in text and "`1`" in text, "first date and sample values are shown"
    assert at.number_input(key=next(n.key for n in at.number_input if n.label == "Counts as liked from")).value == 4.0
    at.text_input(key=next(t.key for t in at.text_input if t.label == "Name of the dataset")).set_value("My *films*")
    at.button(key="save-dataset").click().run(timeout=60)
    (entry,) = Workspace(workspace_root).datasets()
    assert entry.name == "My *films*" and entry.manifest["threshold"] == 4.0
    assert entry.report["rows_read"] == entry.report["rows_kept"] == 300
    assert at.query_params["dataset"] == entry.id
    assert r"Saved as **My \*films\***" in text_of(at)
    assert not list((workspace_root / "uploads").iterdir()), "the upload is gone once saved"


def test_the_same_data_is_recognised(open_page, text_of, workspace_root) -> None:
    for _ in range(2):
        at = _upload(open_page("data", view="new"), "ml.csv", _ratings())
        at.button(key="save-dataset").click().run(timeout=60)
    assert "This data is here already, as **Ml**" in text_of(at)
    assert len(Workspace(workspace_root).datasets()) == 1


def test_mapping_and_settings_reach_the_dataset(open_page, workspace_root) -> None:
    rows = (
        "who;what;how\n"
        + "\n".join(f"u{u};i{i};{'buy' if (u + i) % 3 == 0 else 'look'}" for u in range(20) for i in range(10))
        + "\nu1;i1;steal"
    )
    at = _upload(open_page("data"), "shop.csv", rows.encode())
    by_label = {box.label: box for box in at.selectbox}
    by_label["Event type (optional)"].select("how")
    at.run()
    weights = {box.label.split(" ")[0]: box for box in at.number_input if "(" in box.label}
    assert set(weights) == {"buy", "look", "steal"}
    weights["buy"].set_value(7.0)
    weights["steal"].set_value(0.0)
    at.run()
    at.button(key="save-dataset").click().run(timeout=60)
    entry = Workspace(workspace_root).datasets()[0]
    assert sorted(set(entry.load().value.tolist())) == [1.0, 7.0]
    assert (entry.report["rows_read"], entry.report["rows_filtered"]) == (201, 1)


def test_rejected_rows_are_counted_and_downloadable(open_page, text_of, workspace_root) -> None:
    at = _upload(open_page("data"), "ml.csv", _ratings() + b"5,6,much,1400000000\n,6,3,1400000000\n")
    at.button(key="save-dataset").click().run(timeout=60)
    table = at.dataframe[0].value.set_index("Rows")["Number"]
    assert table["Rejected"] == 2 and table["Read"] == 302 == table["Kept"] + table["Merged"] + table["Left out"] + table["Rejected"]
    assert at.get("download_button"), "the rejected rows can be downloaded"
    assert "2 of 302 rows" in text_of(at).replace("\\", "")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.csv", b"", "is empty"),
        ("photo.csv", b"\x89PNG\r\n\x1a\n" + bytes(200), "PNG image"),
        ("one.csv", b"a\n1\n2\n3\n", "column"),
        ("broken.zip", b"PK\x03\x04 but not a zip", "zip"),
        ("page.csv", b"<!doctype html><html></html>", "web page"),
    ],
)
def test_unusable_files_get_one_sentence(open_page, text_of, name, content, words) -> None:
    at = _upload(open_page("data"), name, content)
    assert len(at.error) == 1 and words in at.error[0].value, [e.value for e in at.error]
    assert "went wrong" not in text_of(at)
    at.button(key="other-file").click().run()
    assert "Choose a file" in text_of(at)


def test_unsavable_plan_is_refused_with_the_reason(open_page, text_of) -> None:
    at = _upload(open_page("data"), "ml.csv", b"a,b,c\n" + b"\n".join(b"1,1,1" for _ in range(20)))
    at.button(key="save-dataset").click().run(timeout=60)
    assert at.error and "nothing to learn" in at.error[0].value


def test_same_column_twice_is_refused(open_page) -> None:
    at = _upload(open_page("data"), "ml.csv", _ratings())
    next(box for box in at.selectbox if box.label == "Item").select("userId").run()
    assert len(at.error) == 1 and "must differ" in at.error[0].value
    assert "save-dataset" not in {button.key for button in at.button}


def test_zip_members_and_separator_can_be_chosen(open_page, text_of) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("ratings.csv", _ratings())
        archive.writestr("other.csv", _ratings(5, 4))
    at = _upload(open_page("data"), "both.zip", packed.getvalue())
    member = next(box for box in at.selectbox if box.label == "File in the zip")
    member.select("other.csv").run()
    assert "10 rows" in text_of(at)
    next(box for box in at.selectbox if box.label == "Separator between columns").select("|").run()
    assert at.error and "column" in at.error[0].value.lower(), "read with a separator it does not have, the file is one column"


def test_an_upload_under_way_survives_a_reload(open_page) -> None:
    at = _upload(open_page("data"), "ml.csv.gz", gzip.compress(_ratings()))
    again = open_page("data", upload=at.query_params["upload"])
    assert "save-dataset" in {button.key for button in again.button}
    assert "save-dataset" not in {button.key for button in open_page("data", upload="../../etc").button}


def test_item_table_is_joined_and_reported(open_page, text_of, workspace_root) -> None:
    at = _upload(open_page("data"), "ml.csv", _ratings())
    titles = "movieId,title\n" + "\n".join(f"{i},Film {i}" for i in range(15)) + "\n999,Nobody saw it\n"
    uploader = next(box for box in at.file_uploader if box.label == "Item table")
    uploader.upload("films.csv", titles.encode()).run()
    at.button(key="save-dataset").click().run(timeout=60)
    entry = Workspace(workspace_root).datasets()[0]
    assert entry.table("item")["title"].dropna().tolist()[:2] == ["Film 0", "Film 1"]
    assert "5 items without a row" in text_of(at) and "1 row matched no item" in text_of(at)


# ---- the folder on the server --------------------------------------------------------------------
@pytest.fixture
def server(tmp_path: Path, workspace_root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "server"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "ml.csv").write_bytes(_ratings())
    (tmp_path / "secret.csv").write_text("a,b\n1,2\n")
    (folder / "link.csv").symlink_to(tmp_path / "secret.csv")
    monkeypatch.setenv("RECSYS_DATA_DIR", str(folder))
    return folder


def test_server_files_stay_inside_the_folder(server: Path) -> None:
    assert uploads.server_files() == ["deep/ml.csv"], "a link that leads out is not listed"
    assert uploads.server_path("deep/ml.csv") == (server / "deep" / "ml.csv").resolve()
    for path in ("../secret.csv", "link.csv", "/etc/passwd", "deep/../../secret.csv", "", ".", "a\x00b"):
        with pytest.raises(BadInput, match="below the configured folder"):
            uploads.server_path(path)
    with pytest.raises(NotFound):
        uploads.server_path("deep/none.csv")


def test_server_file_is_mapped_and_saved_without_a_copy(open_page, server: Path, workspace_root: Path) -> None:
    at = open_page("data")
    at.selectbox(key="server-main").select("deep/ml.csv").run()
    at.button(key="server-main-use").click().run()
    assert not list((workspace_root / "uploads").rglob("*.csv"))
    at.button(key="save-dataset").click().run(timeout=60)
    assert Workspace(workspace_root).datasets()[0].report["rows_kept"] == 300
    assert (server / "deep" / "ml.csv").exists(), "files of the server are never removed"


def test_path_out_of_the_folder_is_refused_on_the_page(open_page, text_of, server: Path, monkeypatch) -> None:
    monkeypatch.setattr(uploads, "server_files", lambda: ["../secret.csv"])  # as a forged request would ask for it
    at = open_page("data")
    at.selectbox(key="server-main").select("../secret.csv")
    at.button(key="server-main-use").click().run()
    assert "Only files below the configured folder" in text_of(at)


def test_file_names_from_browsers_are_tamed() -> None:
    assert uploads.safe_name("..\\..\\evil?.csv") == "evil_.csv"
    assert uploads.safe_name("../../etc/passwd") == "passwd"
    assert uploads.safe_name("\x00..") == "_"


def test_big_files_are_read_as_a_job(open_page, text_of, workspace_root, monkeypatch) -> None:
    from recsys_core.jobs import JobQueue
    from ui import data_save

    monkeypatch.setattr(data_save, "INLINE_BYTES", 100)
    at = _upload(open_page("data"), "ml.csv", _ratings())
    at.button(key="save-dataset").click().run()
    assert "Reading ml" in text_of(at)
    JobQueue(Workspace(workspace_root)).run_until_idle(60)
    at.run()
    assert "Saved as **Ml**" in text_of(at)
    assert at.query_params["dataset"] == Workspace(workspace_root).datasets()[0].id
