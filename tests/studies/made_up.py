"""Finished runs that were never trained: their answers are made up, so that what a report says is known."""

import csv
import json

from kinema.studies.folder import write_done, write_planned


def finish(run, right, *, n=40, groups=10, seconds=60.0, val=False, epochs=4):
    """Leave what a training of `run` would have left, with the videos of `right` answered rightly."""
    run.folder.mkdir(parents=True, exist_ok=True)
    (run.folder / "config.yaml").write_text("made up")
    write_planned(run)
    answers = [number in set(right) for number in range(n)]
    with (run.folder / "predictions.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "start_seconds", "end_seconds", "group", "label", "predicted", "p_a", "p_b"])
        for number, correct in enumerate(answers):
            group = f"film {number % groups}" if groups else ""
            p = 0.8 if correct else 0.4
            writer.writerow([f"{number}.mp4", "", "", group, "a", "a" if correct else "b", p, 1 - p])
    figure = {"value": sum(answers) / n, "low": 0.1, "high": 0.9, "n": n, "method": "made up"}
    over = {**figure, "n": groups} if groups else None
    video = {"video_top1_accuracy": figure, "video_top1_accuracy_over_groups": over, "labels": {"count": 2}}
    content = {"split": "val" if val else "test", "video": video}
    (run.folder / "metrics.json").write_text(json.dumps(content))
    for fold in (1, 2):
        folder = run.folder / f"fold-{fold}"
        folder.mkdir()
        with (folder / "metrics.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(
                ["epoch", "train_loss", "train_clip_accuracy", "val_loss", "val_clip_accuracy", "val_video_accuracy"]
            )
            for epoch in range(1, epochs + 1):
                figures = [1 / epoch + fold / 10, 0.5 + epoch / 20]
                writer.writerow([epoch, *figures, *([0.9, 0.5, 0.6] if val else ["", "", ""])])
    write_done(run, seconds)
