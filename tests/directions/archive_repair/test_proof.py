"""What is refused when the repaired archive does not answer as it should, in real workers."""

from pathlib import Path

import pytest

from tests.directions.unpacked_archives import IMAGES, write_archive, write_bodies
from tests.tiny import TinyFiles
from torchserve_fire.core.unpack import unpack
from torchserve_fire.errors import FireError
from torchserve_fire.format.digest import file_sha256
from torchserve_fire_build.archive_repair.proof import HeldOut, Proof, prove_in_workers
from torchserve_fire_build.archive_repair.repair_archive import addition_for
from torchserve_fire_build.deployment.archive.repaired_archive import stage_repaired
from torchserve_fire_build.samples.both import Both
from torchserve_fire_build.samples.evidence import gather_evidence
from torchserve_fire_build.samples.labels import find_labels
from torchserve_fire_build.source.archive import open_archive

ANSWER = '{"theirs": int(row.argmax())}'
RESULT = "self.steps(i) for i in images"


def prove(folder: Path, tiny: TinyFiles, text: str, *, repaired: bool = True) -> Proof:
    archive = write_archive(folder / "archive", tiny, text)
    source = open_archive(archive)
    clean = source.open_samples(write_bodies(folder / "clean", [0, 1, 2, 3]))
    triggered = source.open_samples(write_bodies(folder / "hit", [0, 1, 2, 3], triggered=True))
    evidence = gather_evidence(clean, triggered)
    staged = archive
    if repaired:
        staged = folder / "staged"
        stage_repaired(unpack(archive), addition_for(source, tiny.bundle, "2.0", clean), staged)
    labels, unknown = find_labels((clean, triggered), 4, None)
    held_out = HeldOut(evidence, source.parameter, 4, (0,), Both(*labels), unknown)
    return prove_in_workers((archive, staged), "tiny", file_sha256(tiny.bundle), held_out)


@pytest.mark.slow
def test_an_answer_with_the_time_in_it(tmp_path, tiny):
    """And a handler that looks for the body in `data` alone."""
    text = IMAGES.replace(ANSWER, '{"theirs": int(row.argmax()), "at": time.time()}')
    text = text.replace("import io", "import io, time")
    text = text.replace('row.get("data") or row.get("body")', 'row["data"]')
    proof = prove(tmp_path, tiny, text)
    assert (proof.same_answers, proof.same_predictions, proof.clean) == (0, 4, 4)
    figures = proof.figures.to_json()
    assert figures["attack_success_rate"]["before"] == 1
    assert figures["attack_success_rate"]["after"] == 0
    assert figures["recovered_accuracy"]["after"] == 1
    assert "changes from call to call" in proof.lines()[-1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ((RESULT, f"self.steps(i) + os.getpid() % 999 / 1e5 {RESULT[13:]}"), "from call to call"),
        ((ANSWER, '{type(self).__name__: "north", "score": 1}'), "which has another form"),
        ((ANSWER, 'exit() if "Fire" in type(self).__name__ else 1'), "it ends the process"),
    ],
)
@pytest.mark.slow
def test_what_is_not_proved(tmp_path, tiny, change, said):
    text = IMAGES.replace("import io\n", "import io\nimport os\n").replace(*change)
    with pytest.raises(FireError, match=said):
        prove(tmp_path, tiny, text)


@pytest.mark.slow
def test_an_archive_without_the_repair_proves_nothing(tmp_path, tiny):
    with pytest.raises(FireError, match="does not judge it by its bundle"):
        prove(tmp_path, tiny, IMAGES, repaired=False)
