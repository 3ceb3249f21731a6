"""Makes the PyTorch references beside it: `python3 make.py` with torch and safetensors installed.

For each depth `resnetN.safetensors`: weights at base width 4 under torchvision's names, random, f16, with batch-norm
statistics that matter; timm's `num_batches_tracked` is kept. `reference.safetensors`: `images`, u8 [3, 3, 96, 80], and
for each depth `resnetN`, the logits f32 [3, 7] that PyTorch computes from the images with the manifest of the test.
"""
import os
import sys

import torch
from safetensors.torch import save_file

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "demo"))
from reference import ResNet, normalised  # noqa: E402

torch.manual_seed(5)
images = torch.randint(0, 256, (3, 3, 96, 80), dtype=torch.uint8)
images[1] //= 4
images[2] = torch.arange(80, dtype=torch.uint8) * 3
reference = {"images": images}
for depth in (18, 34, 50, 101, 152):
    network = ResNet(depth, 4, 7).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.75, 1.25)
            module.weight.data.uniform_(0.6, 1.0)
            module.bias.data.normal_(0, 0.1)
    state = {name: value.half() if value.is_floating_point() else value for name, value in network.state_dict().items()}
    network.load_state_dict({name: value.float() if value.is_floating_point() else value for name, value in state.items()})
    with torch.inference_mode():
        reference[f"resnet{depth}"] = network(normalised(images.permute(0, 2, 3, 1))).contiguous()
    save_file({name: value.contiguous() for name, value in state.items()}, os.path.join(HERE, f"resnet{depth}.safetensors"))
save_file(reference, os.path.join(HERE, "reference.safetensors"))
for file in os.listdir(HERE):
    os.chmod(os.path.join(HERE, file), 0o644)
