"""Turns GQA's questions and scene graphs into a data set for `stormsight knockout` and `lens`.

    python3 dataset.py val_balanced_questions.json val_sceneGraphs.json IMAGES > gqa.jsonl

A line for each question of the six kinds that the paper on information flow asks (chooseAttr, chooseCat, chooseRel,
compareAttr, logicalObj, queryAttr), with the boxes of all objects that its words or its answer stand for. IMAGES is the
folder of the pictures, written into the lines as it is given; stormsight takes it from the data set's own folder.
Needs nothing but Python.

See https://cs.stanford.edu/people/dorarad/gqa/download.html for the files and their fields.
"""

import json
import sys

KINDS = ["chooseAttr", "chooseCat", "chooseRel", "compareAttr", "logicalObj", "queryAttr"]


def main(questions_file, graphs_file, images):
    with open(questions_file, encoding="utf-8") as file:
        questions = json.load(file)
    with open(graphs_file, encoding="utf-8") as file:
        graphs = json.load(file)
    for name, question in questions.items():
        kind = question["types"]["structural"] + question["types"]["semantic"].capitalize()
        graph = graphs.get(question["imageId"])
        if kind not in KINDS or graph is None:
            continue
        annotations = question["annotations"]
        named = list(annotations["question"].values()) + list(annotations["answer"].values())
        objects = [graph["objects"][id] for id in dict.fromkeys(named) if id in graph["objects"]]
        # A box that lies outside of its picture marks nothing.
        objects = [o for o in objects if o["w"] > 0 and o["h"] > 0 and o["x"] < graph["width"] and o["y"] < graph["height"]]
        print(json.dumps({
            "id": name,
            "image": f"{images}/{question['imageId']}.jpg",
            "question": question["question"],
            "answer": question["answer"],
            "boxes": [[o["x"], o["y"], o["w"], o["h"]] for o in objects],
            "category": kind,
        }))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
