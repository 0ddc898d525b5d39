from torchserve_fire_build.samples.content_digest import content_digest


def test_names_and_content_of_a_folder_count(tmp_path):
    def digest(**files):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        return content_digest(folder)

    first = digest(a="1", b="2")
    assert digest(b="2", a="1") == first
    assert digest(a="2", b="1") != first
    assert digest(a="1", c="2") != first
    assert digest(a="1", b="2", c="") != first


def test_what_a_list_names_counts(tmp_path):
    (tmp_path / "list.csv").write_text("path\na\n")
    (tmp_path / "a").write_text("1")
    first = content_digest(tmp_path / "list.csv")
    (tmp_path / "a").write_text("2")
    assert content_digest(tmp_path / "list.csv") != first
