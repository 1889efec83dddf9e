"""Kills `stormsight batch` at random moments and goes on with --resume until it is done: the file must equal, but for
timings, that of a run that nothing happened to.

    python3 tools/batch/kill_and_resume.py out/kill            # all questions about the 96 held-out scenes, ten kills
    python3 tools/batch/kill_and_resume.py out/kill --kills 3 --options "--backend scalar"
"""

import argparse
import json
import pathlib
import random
import shlex
import signal
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
HELDOUT = ROOT / "models" / "shapes" / "heldout"


def questions(folder):
    """The held-out questions as a data set."""
    file = folder / "questions.jsonl"
    with file.open("w") as out:
        for scene in json.loads((HELDOUT / "answers.json").read_text())["scenes"]:
            for question in scene["questions"]:
                line = {"image": str(HELDOUT / scene["image"]), **question}
                out.write(json.dumps(line) + "\n")
    return file


def lines(file):
    """What a file says, without timings."""
    records = [json.loads(line) for line in file.read_text().splitlines()]
    for record in records:
        record.pop("seconds", None)
    return [json.dumps(record) for record in records]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--command", default=str(ROOT / "stormsight"))
    parser.add_argument("--options", default="--backend cpu -n 16")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    data = questions(arguments.folder)
    whole = arguments.folder / "whole.jsonl"
    killed = arguments.folder / "killed.jsonl"
    for file in (whole, killed):
        file.unlink(missing_ok=True)

    def command(file, *more):
        return [arguments.command, "batch", "--dataset", str(data), "--out", str(file), *more,
                *shlex.split(arguments.options)]

    start = time.monotonic()
    subprocess.run(command(whole), check=True, stderr=subprocess.DEVNULL)
    seconds = time.monotonic() - start
    print(f"undisturbed: {len(lines(whole))} lines in {seconds:.1f} s")
    chance = random.Random(arguments.seed)
    for kill in range(arguments.kills):
        before = killed.stat().st_size if killed.exists() else 0
        process = subprocess.Popen(command(killed, "--resume"), stderr=subprocess.DEVNULL, start_new_session=True)
        # Every fifth time while the program starts, else while it writes.
        while kill % 5 != 4 and process.poll() is None and (not killed.exists() or killed.stat().st_size == before):
            time.sleep(0.01)
        time.sleep(chance.uniform(0, seconds / arguments.kills / 2))
        done = process.poll() is not None
        if not done:
            # The launcher has replaced itself by the JVM, or is still starting it.
            process.send_signal(signal.SIGKILL)
            process.wait()
        size = killed.stat().st_size if killed.exists() else 0
        print(f"kill {kill + 1}: {'was done' if done else 'killed'} at {size} bytes")
    subprocess.run(command(killed, "--resume"), check=True)
    same = lines(whole) == lines(killed)
    print("the files are equal but for timings" if same else "the files DIFFER")
    return 0 if same else 1


if __name__ == "__main__":
    raise SystemExit(main())
