"""Rows of the publication are found by name, and only the weights measured there count as the same."""

from microtome.analyses.erf.published_fields import PUBLISHED, has_published_weights, published_row


def test_rows_by_the_names_of_both_libraries() -> None:
    for name in ("torchvision:resnet50", "timm:resnet50", "timm:resnet50.tv_in1k"):
        assert published_row(name) == ("resnet50", PUBLISHED["resnet50"])
    assert published_row("mine:resnet50") is published_row("timm:resnet26") is published_row("resnet50") is None


def test_the_theoretical_fields_are_those_of_the_layers() -> None:
    """ResNet: the stem sees 11 px at stride 4; every 3 x 3 kernel adds 2 strides of its input."""
    for name, blocks, convolutions in (
        ("resnet18", (2, 2, 2, 2), 2),
        ("resnet34", (3, 4, 6, 3), 2),
        ("resnet50", (3, 4, 6, 3), 1),
    ):
        field, jump = 11, 4
        for stage, count in enumerate(blocks):
            for block in range(count):
                for convolution in range(convolutions):
                    field += 2 * jump
                    jump *= 2 if stage and not block and not convolution else 1
        assert field == PUBLISHED[name].theory


def test_only_the_weights_measured_there_are_the_same() -> None:
    assert has_published_weights("torchvision:resnet50", "IMAGENET1K_V1")
    assert not has_published_weights("torchvision:resnet50", "IMAGENET1K_V2")
    assert has_published_weights("timm:resnet50.tv_in1k", "pretrained")
    assert not has_published_weights("timm:resnet50.a1_in1k", "pretrained")
    assert not has_published_weights("timm:resnet50.tv_in1k", "random")
