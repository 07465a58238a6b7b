"""Child: images a second of the same training step in plain PyTorch; `python step_torch.py NAME SECONDS float32|bfloat16`.

The network is `learn.networks.residual`, written as one would write it in PyTorch; it stands alone, for it runs in the
peers' environment.
"""

import json
import sys
import time

import numpy as np
import torch
from torch import nn

WIDTHS = {2: (24, 48, 96), 3: (16, 32, 64)}
INPUTS = {"pictures 28²": (28, 28, 1), "pictures 96²": (96, 96, 3), "volumes 28³": (28, 28, 28, 1)}
BATCH = {2: 64, 3: 32}


def conv_bn(nd, come, go, kernel, stride=1):
    convolution = (nn.Conv2d, nn.Conv3d)[nd - 2]
    norm = (nn.BatchNorm2d, nn.BatchNorm3d)[nd - 2]
    pad = (kernel - stride) // 2 if kernel % 2 == 0 else kernel // 2
    return nn.Sequential(convolution(come, go, kernel, stride, pad, bias=False), norm(go, eps=1e-5, momentum=0.03))


class Block(nn.Module):
    def __init__(self, nd, come, go, stride):
        super().__init__()
        self.first = conv_bn(nd, come, go, 4 if stride == 2 else 3, stride)
        self.second = conv_bn(nd, go, go, 3)
        pool = (nn.AvgPool2d, nn.AvgPool3d)[nd - 2]
        parts = ([pool(2)] if stride == 2 else []) + ([conv_bn(nd, come, go, 1)] if come != go else [])
        self.short = nn.Sequential(*parts)

    def forward(self, x):
        y = self.second(torch.relu_(self.first(x)))
        return torch.relu_(y + self.short(x))


class Residual(nn.Module):
    def __init__(self, shape):
        super().__init__()
        nd, size = len(shape) - 1, shape[0]
        small = nd == 2 and size <= 64
        widths, stem = WIDTHS[nd], (3, 1) if small else (4, 2)
        self.stem = conv_bn(nd, shape[-1], widths[0], *stem)
        size //= stem[1]
        blocks, come = [], widths[0]
        for stage, width in enumerate(widths):
            stride = 2 if stage and size % 2 == 0 else 1
            size //= stride
            blocks.append(Block(nd, come, width, stride))
            come = width
        self.blocks = nn.Sequential(*blocks)
        self.drop, self.head = nn.Dropout(0.2), nn.Linear(come, 1)

    def forward(self, x):
        x = self.blocks(torch.relu_(self.stem(x)))
        return self.head(self.drop(x.flatten(2).mean(2)))


def main():
    name, seconds, how = sys.argv[1], float(sys.argv[2]), sys.argv[3]
    shape = INPUTS[name]
    nd = len(shape) - 1
    torch.manual_seed(0)
    last = (torch.channels_last, torch.channels_last_3d)[nd - 2]
    model = Residual(shape).to(memory_format=last).train()
    x = torch.randn(BATCH[nd], shape[-1], *shape[:-1]).to(memory_format=last)
    y = (torch.rand(BATCH[nd], 1) < 0.5).float()
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=5e-3)
    loss_of = nn.BCEWithLogitsLoss()

    def step():
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=how == "bfloat16"):
            z = model(x)
        loss_of(z.float(), y).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()

    for _ in range(3):
        step()
    each, work, end = [], [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(each) < 8:
        began, worked = time.perf_counter(), time.process_time()
        step()
        each.append(time.perf_counter() - began)
        work.append(time.process_time() - worked)
    told = {key: BATCH[nd] / float(np.quantile(v, 0.1)) for key, v in (("clock", each), ("work", work))}
    print(json.dumps(told | {"weights": sum(p.numel() for p in model.parameters())}))


if __name__ == "__main__":
    main()
