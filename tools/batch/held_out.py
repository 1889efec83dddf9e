"""Asks the embedded model every question about its held-out scenes, and counts right answers.

    python held_out.py questions FILE        writes the data set for stormsight batch
    python held_out.py score FILE...         of the files that batch wrote; answers are compared with those of the first

    stormsight batch --dataset FILE --parallel 16 -n 64 --weights q4 --out q4.jsonl
"""
import json
import re
import sys
from pathlib import Path

HELD_OUT = Path(__file__).resolve().parents[2] / "models" / "shapes" / "heldout"
BOX = re.compile(r"<loc(\d{4})><loc(\d{4})><loc(\d{4})><loc(\d{4})>([^;<]*)")


def questions(file):
    scenes = json.loads((HELD_OUT / "answers.json").read_text())["scenes"]
    with open(file, "w") as out:
        for scene in scenes:
            for question in scene["questions"]:
                out.write(json.dumps({"image": str(HELD_OUT / scene["image"]), "prompt": question["prompt"],
                                      "task": question["task"], "expected": question["expected"]}) + "\n")


def boxes(text):
    """[(y1, x1, y2, x2), label] of each object."""
    return [([int(n) for n in m.groups()[:4]], m.group(5).strip()) for m in BOX.finditer(text)]


def iou(a, b):
    height = min(a[2], b[2]) - max(a[0], b[0])
    width = min(a[3], b[3]) - max(a[1], b[1])
    both = max(height, 0) * max(width, 0)
    either = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both
    return both / either if either else 0


def overlaps(expected, found):
    """Of each expected object the overlap with the best box of its label that no other one has."""
    left = list(found)
    for box, label in expected:
        best = max((candidate for candidate in left if candidate[1] == label),
                   key=lambda candidate: iou(box, candidate[0]), default=None)
        if best:
            left.remove(best)
        yield iou(box, best[0]) if best else 0


def score(files):
    first = {}
    for file in files:
        tasks, found, same = {}, [], 0
        lines = [json.loads(line) for line in open(file)]
        for line in lines:
            task, expected, answer = line["input"]["task"], line["input"]["expected"], line["answer"]
            same += first.setdefault((line["image"], line["prompt"]), answer) == answer
            if task != "detect":
                tasks.setdefault(task, []).append(answer == expected)
            elif expected:
                found += overlaps(boxes(expected), boxes(answer))
            else:
                tasks.setdefault("nothing to detect", []).append(not answer)
        print(file)
        for task, right in tasks.items():
            print(f"  {task}: {sum(right)} of {len(right)}")
        answered = [right for task, rights in tasks.items() if task != "nothing to detect" for right in rights]
        print(f"  all but detect: {sum(answered)} of {len(answered)}, {sum(answered) / len(answered):.1%}")
        print(f"  mean IoU of {len(found)} boxes: {sum(found) / len(found):.3f}")
        print(f"  the same answer as in {files[0]}: {same} of {len(lines)}")


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "questions":
        questions(sys.argv[2])
    elif len(sys.argv) > 2 and sys.argv[1] == "score":
        score(sys.argv[2:])
    else:
        sys.exit(__doc__)
