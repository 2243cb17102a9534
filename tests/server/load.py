"""Load on a server: `python -m tests.server.load URL --clients 8 --seconds 600`; prints one JSON object.

Each client is a thread with OpenAI's own client that edits one photograph again and again. One client alone
is measured first, for the ratio.
"""

import argparse
import json
import threading
import time
from pathlib import Path

import numpy as np
import openai


def resident_mb(pid):
    """Returns the resident memory of a process in MB (Linux)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS:")).split()[1]) / 1024


def load(options, clients, seconds):
    """Returns what so many clients saw in so many seconds."""
    photo, end = options.image.read_bytes(), time.monotonic() + seconds
    durations, failures, lock = [], {}, threading.Lock()

    def run(number):
        # No trying again: a refusal is counted.
        client = openai.OpenAI(base_url=f"{options.url}/v1", api_key=options.key, max_retries=0, timeout=600)
        seed = number * 1_000_000
        while time.monotonic() < end:
            start, failure = time.monotonic(), None
            seed += 1
            extra = {"seed": seed} | ({"steps": options.steps} if options.steps else {})
            try:
                client.images.edit(image=(options.image.name, photo), prompt=options.prompt, extra_body=extra)
            except openai.APIError as error:
                failure = str(getattr(error, "status_code", None) or type(error).__name__)
            with lock:
                if failure is None:
                    durations.append(time.monotonic() - start)
                else:
                    failures[failure] = failures.get(failure, 0) + 1
            if failure is not None:
                time.sleep(0.5)

    memory = [resident_mb(options.pid)] if options.pid else []
    threads = [threading.Thread(target=run, args=(number,)) for number in range(clients)]
    start = time.monotonic()
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        for thread in threads:
            thread.join(max(start + 60 * max(len(memory), 1) - time.monotonic(), 0.1) / clients)
        if options.pid and time.monotonic() >= start + 60 * len(memory):
            memory.append(resident_mb(options.pid))
    spent = time.monotonic() - start
    p50, p95 = np.percentile(durations, [50, 95]) if durations else (float("nan"),) * 2
    return {
        "clients": clients,
        "requests": len(durations) + sum(failures.values()),
        "failures": failures,
        "seconds": round(spent, 1),
        "edits_per_second": round(len(durations) / spent, 4),
        "p50_seconds": round(float(p50), 3),
        "p95_seconds": round(float(p95), 3),
        "resident_mb_each_minute": [round(value) for value in memory],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url", help="for instance http://127.0.0.1:8000")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=600, help="with all clients; one alone has a tenth")
    parser.add_argument("--image", type=Path, default=Path("_data/photographs/astronaut.jpg"))
    parser.add_argument("--prompt", default="make it winter")
    parser.add_argument("--steps", type=int, help="by default the model's own")
    parser.add_argument("--key", default="none")
    parser.add_argument("--pid", type=int, help="of the server, on this machine: its memory is watched")
    options = parser.parse_args()
    alone = load(options, 1, options.seconds / 10)
    together = load(options, options.clients, options.seconds)
    ratio = together["edits_per_second"] / (alone["edits_per_second"] or float("nan"))
    print(json.dumps({"alone": alone, "together": together, "ratio": round(ratio, 2)}, indent=2))


if __name__ == "__main__":
    main()
