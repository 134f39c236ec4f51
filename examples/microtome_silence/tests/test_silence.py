from microtome_silence.silence import Silence

import microtome as mt
from microtome import testing


def test_silence(tmp_path):
    net = mt.open("microtome:mini_resnet", weights=None)
    testing.check(Silence(), net, mt.Images.scenes(12), tmp_path)
