from benchmarks.victims.catalogue import benign_twins
from benchmarks.victims.recipe import Recipe


def test_each_architecture_has_one_twin_in_the_order_of_its_victims():
    victims = [Recipe(*names) for names in (("vit", "sig"), ("vgg", "bpp"), ("vit", "wanet"))]
    assert benign_twins(victims) == [Recipe("vit", None), Recipe("vgg", None)]
