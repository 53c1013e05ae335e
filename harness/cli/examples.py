"""What each command's ``--help`` ends with: lines to copy, by the words of the command."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer

EXAMPLES = {
    "run": "ohd-bench run -e micro -e micro-ohd -l micro-llava --data micro -t pope -t amber",
    "merge": "ohd-bench merge --results results",
    "list": "ohd-bench list tasks",
    "show sample": "ohd-bench show sample amber 1005 --data micro",
    "show run": "ohd-bench show run micro+micro-llava@",
    "score": "ohd-bench score amber answers.json --data DIR --csv scores.csv",
    "compare": "ohd-bench compare micro+micro-llava@ micro-ohd+micro-llava@ --fail-if-worse pope:f1",
    "attribute": "ohd-bench attribute micro+micro-llava@ micro-ohd+micro-llava@",
    "effects": "ohd-bench effects --results results",
    "objects": "ohd-bench objects micro+micro-llava@",
    "report": "ohd-bench report BASE TUNED --export paper/ --width cvpr --metrics amber:AMBER,pope:f1",
    "encoder inspect": "ohd-bench encoder inspect clip:openai/clip-vit-large-patch14-336",
    "encoder check": "ohd-bench encoder check clip:runs/ohd-l14 --lvlm llava",
    "encoder convert": 'ohd-bench encoder convert "open-clip:ViT-L-14?weights=epoch_3.pt" --to hf --out runs/l14',
    "encoder diff": "ohd-bench encoder diff micro micro-ohd",
    "encoder merge": "ohd-bench encoder merge clip:runs/ohd-l14 --into llava --out runs/llava-ohd",
    "encoder push": "ohd-bench encoder push runs/ohd-b32 OWNER/ohd-b32 --licence apache-2.0",
    "align": "ohd-bench align clip:runs/ohd-l14 --lvlm llava --stage pretrain,lora --data DIR --out runs/aligned",
    "train": "ohd-bench train ohd-b32 --data DIR --out runs/ohd-b32 --set seed=1",
    "sweep": "ohd-bench sweep micro-ohd --vary seed=0,1,2 --vary fraction=0.1,1 --out runs/sweep --keep best",
    "study": "ohd-bench study paper --data micro --seeds 5",
    "export": "ohd-bench export micro+micro-llava@ --to csv -o out/",
    "leaderboard": "ohd-bench leaderboard --html --csv --name clip:runs/ohd-l14=Ours",
    "results merge": "ohd-bench results merge ada/results ben/results --results results",
    "results compress": "ohd-bench results compress --results results",
    "results push": "ohd-bench results push OWNER/NAME micro+micro-llava@ --dry-run out/",
    "results pull": "ohd-bench results pull OWNER/NAME --results results",
    "doctor": "ohd-bench doctor --quick",
}


def add(app: typer.Typer, before: str = "") -> None:
    """Give each command that has an example its example."""
    for command in app.registered_commands:
        name = command.name or (command.callback.__name__ if command.callback else "")
        if example := EXAMPLES.get(f"{before}{name}"):
            command.epilog = f"Example: {example}"
    for group in app.registered_groups:
        if group.typer_instance and group.name:
            add(group.typer_instance, f"{before}{group.name} ")
