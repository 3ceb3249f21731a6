"""The model in PyTorch: preprocessing, network and the weights file, as the Rust side must reproduce them.

The network is ResNet of any depth and base width under torchvision's parameter names (and timm's, which
are the same); at base width 64 it is torchvision's own. Bottlenecks stride in the 3x3 ("v1.5").
"""
import json
import os

import numpy as np
import torch
from PIL import Image, ImageOps
from safetensors.torch import load_file, save_file
from torch import nn

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
EDGE, CROP_FRACTION = 224, 0.875
DEPTHS = {18: [2, 2, 2, 2], 34: [3, 4, 6, 3], 50: [3, 4, 6, 3], 101: [3, 4, 23, 3], 152: [3, 8, 36, 3]}


def pixels(picture):
    """The centre crop of a PIL picture as u8 [224, 224, 3]: turned upright, RGB, shorter edge 256 by bilinear."""
    picture = eight_bit_rgb(ImageOps.exif_transpose(picture))
    shorter = round(EDGE / CROP_FRACTION)
    width, height = picture.size
    if width <= height:
        size = (shorter, int(shorter * height / width))
    else:
        size = (int(shorter * width / height), shorter)
    resized = picture.resize(size, Image.Resampling.BILINEAR)
    left, top = (int(round((edge - EDGE) / 2.0)) for edge in size)
    return np.asarray(resized.crop((left, top, left + EDGE, top + EDGE)))


def eight_bit_rgb(picture):
    """RGB with 8 bits a channel. PIL itself keeps the upper byte of a 16-bit RGB PNG; grey ones it must be told."""
    if picture.mode.startswith("I"):
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    return picture.convert("RGB")


def normalised(batch):
    """u8 [n, h, w, 3] as the f32 [n, 3, h, w] that the network takes."""
    scaled = batch.permute(0, 3, 1, 2).float().contiguous(memory_format=torch.channels_last) / 255
    return (scaled - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)


def convolution(inputs, outputs, kernel, stride=1):
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)


class Block(nn.Module):
    """A residual block: two 3x3 (ResNet-18 and -34) or 1x1, 3x3, 1x1 (deeper ones)."""

    def __init__(self, inputs, planes, stride, bottleneck):
        super().__init__()
        outputs = planes * (4 if bottleneck else 1)
        self.bottleneck = bottleneck
        self.conv1 = convolution(inputs, planes, 1) if bottleneck else convolution(inputs, planes, 3, stride)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = convolution(planes, planes, 3, stride if bottleneck else 1)
        self.bn2 = nn.BatchNorm2d(planes)
        if bottleneck:
            self.conv3 = convolution(planes, outputs, 1)
            self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))

    def last_norm(self):
        return self.bn3 if self.bottleneck else self.bn2

    def forward(self, x):
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        if self.bottleneck:
            y = self.bn3(self.conv3(self.relu(y)))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    def __init__(self, depth, width, classes):
        super().__init__()
        bottleneck = depth >= 50
        self.conv1 = convolution(3, width, 7, 2)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        inputs = width
        for stage, blocks in enumerate(DEPTHS[depth]):
            planes, layer = width << stage, []
            for block in range(blocks):
                layer.append(Block(inputs, planes, 2 if stage > 0 and block == 0 else 1, bottleneck))
                inputs = planes * (4 if bottleneck else 1)
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layer))
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))


def save_weights(network, folder, labels):
    """Writes model.safetensors (f16) and manifest.json to `folder`."""
    os.makedirs(folder, exist_ok=True)
    state = {name: tensor.detach().half().contiguous() for name, tensor in network.state_dict().items()
             if not name.endswith("num_batches_tracked")}
    path = os.path.join(folder, "model.safetensors")
    save_file(state, path + ".new")
    os.chmod(path + ".new", 0o644)
    os.replace(path + ".new", path)
    manifest = {
        "name": "road-scenes-resnet101-w8",
        "labels": labels,
        "preprocessing": {"size": [EDGE, EDGE], "crop_fraction": CROP_FRACTION, "resize": "shortest-edge",
                          "interpolation": "bilinear", "mean": MEAN, "std": STD},
        "top_k": 5,
    }
    with open(os.path.join(folder, "manifest.json"), "w") as sink:
        json.dump(manifest, sink, indent=2)
        sink.write("\n")


def load_weights(folder):
    """The network of `folder` computing in f32, ready to evaluate, and its labels."""
    with open(os.path.join(folder, "manifest.json")) as source:
        labels = json.load(source)["labels"]
    state = load_file(os.path.join(folder, "model.safetensors"))
    network = ResNet(101, state["conv1.weight"].shape[0], len(labels))
    missing, unexpected = network.load_state_dict({k: v.float() for k, v in state.items()}, strict=False)
    if unexpected or any(not name.endswith("num_batches_tracked") for name in missing):
        raise ValueError(f"weights don't fit: missing {missing}, unexpected {unexpected}")
    return network.eval(), labels
