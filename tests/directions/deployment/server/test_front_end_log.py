from xml.etree import ElementTree

from torchserve_fire_build.deployment.server.front_end_log import FILE, VARIABLE, without_content


def test_the_configuration_is_merged_over_torchserves_own(tmp_path):
    folder = tmp_path / "a folder"
    folder.mkdir()
    (value,) = without_content(folder, {}).values()
    own, ours = value.split(",")
    assert own == "classpath:log4j2.xml"
    assert ours == (folder / FILE).as_uri()
    assert " " not in ours
    logger = ElementTree.parse(folder / FILE).find("Loggers/Logger")  # noqa: S314 - our own.
    assert logger.get("additivity") == "false"


def test_a_configuration_that_somebody_names_stays(tmp_path):
    assert without_content(tmp_path, {VARIABLE: "mine.xml"}) == {}
    assert list(tmp_path.iterdir()) == []
