"""Helpers that several tests share; no test is in here.

| module | what it has |
| --- | --- |
| `benchmark_runs` | finished and failed runs of a benchmark, written to disk without running anything |
| `benchmark_victim` | methods that are killed, that fail, or that never end |
| `browser` | a headless Chromium, if there is one |
| `command` | `numclip` in this process, on small lists and a tiny CLIP; readers of a run folder |
| `ddp_worker` | a script: one of several processes that share a training |
| `fake_data` | makers of each dataset's files, with images whose brightness follows the target |
| `list_data` | datamodules of list files |
| `metric_inputs` | random inputs for metrics, with ties and gaps |
| `model_hub` | a saved tiny model, and a hub on this machine that serves it |
| `predictors` | predictors of tiny models, and images for them |
| `pages` | the code blocks and commands of a Markdown page |
| `places` | paths of the repository and of the data beside it |
| `scales` | the tiny scale of the tests of methods |
| `tiny_clip` | small random CLIPs that open_clip finds by name |
| `tiny_fit` | images in memory and a quiet trainer, for fits of a second |
| `tiny_patches` | images of noise, for methods that are solved from features |
"""
