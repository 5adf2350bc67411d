"""From rates to tables: medians, spreads, bars, JSON, a plot, and the page for people."""
import json
import os
import platform
import re
import statistics
import subprocess
import time
from xml.sax.saxutils import escape

import curves

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAGE = os.path.join(ROOT, "doc", "performance.md")
LOAD_BEFORE = os.getloadavg()[0]  # of others: afterwards it would count the clients of the bench itself


def ratios(result, peer):
    """Of each round: the slices of a round were measured within seconds of each other."""
    return [ours / theirs for ours, theirs in zip(result["rates"]["gneiss"], result["rates"][peer])]


def verdict(result, peer):
    found = ratios(result, peer)
    bar = result["bars"].get(peer)
    ratio = statistics.median(found)
    return {"row": result["name"], "kind": result["kind"], "peer": peer, "bar": bar, "ratio": ratio,
            "low": min(found), "high": max(found), "met": None if bar is None else ratio >= bar}


def human(number):
    for unit, divisor in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= divisor:
            digits = number / divisor
            return "%.*f %s" % (0 if digits >= 100 else 1 if digits >= 10 else 2, digits, unit)
    return "%.0f" % number if number >= 10 else "%.2f" % number


def figure(number):
    return "%.2f" % number if number < 10 else "%.1f" % number if number < 100 else "%.0f" % number


def label(result):
    return "%s, %s" % (result["name"], result["kind"]) if result["kind"] else result["name"]


def peers_of(results):
    seen = []
    for result in results:
        for peer in result["rates"]:
            if peer not in seen and peer != "gneiss":
                seen.append(peer)
    return seen


def markdown(header, lines):
    widths = [max(len(line[i]) for line in [header] + lines) for i in range(len(header))]
    def row(cells):
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths)) + " |"
    return "\n".join([row(header), "|" + "|".join("-" * (width + 2) for width in widths) + "|"] +
                     [row(line) for line in lines])


def ratio_table(results):
    """A line a row, a column a peer: the ratio Gneiss : peer, and its spread."""
    peers = peers_of(results)
    lines = []
    for result in results:
        cells = [label(result), human(statistics.median(result["rates"]["gneiss"])) + "/s"]
        for peer in peers:
            if peer in result["rates"]:
                found = verdict(result, peer)
                cells.append("%s (%s to %s)" % tuple(
                    figure(found[key]) for key in ("ratio", "low", "high")))
            else:
                cells.append("")
        lines.append(cells)
    return markdown(["work", "Gneiss"] + peers, lines)


def bar_table(results):
    lines = []
    for result in results:
        for peer in result["bars"]:
            if peer not in result["rates"]:
                continue
            found = verdict(result, peer)
            met = "met" if found["met"] else "missed"
            if not found["met"] and result.get("either") and any(
                    verdict(result, other)["met"] for other in result["bars"]):
                met = "the other is met"
            lines.append([label(result), peer, figure(found["bar"]), figure(found["ratio"]),
                          "%s to %s" % (figure(found["low"]), figure(found["high"])), met])
    return markdown(["work", "against", "bar", "ratio", "spread", ""], lines)


def groups(results):
    found = {}
    for result in results:
        found.setdefault(result["group"], []).append(result)
    return found


# ---- keeping ----
def machine():
    model = "?"
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    commit = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"],
                            stdout=subprocess.PIPE, text=True, check=False).stdout.strip()
    return {"processor": model, "processors": os.cpu_count(), "kernel": platform.release(),
            "memory_gib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30,
            "date": time.strftime("%Y-%m-%d"), "commit": commit or "?",
            "load": LOAD_BEFORE}


def save(folder, group, results, options):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, group + ".json"), "w", encoding="utf-8") as out:
        json.dump({"machine": machine(), "rounds": options.rounds, "quick": options.quick,
                   "results": results,
                   "verdicts": [verdict(result, peer) for result in results
                                for peer in result.get("rates", ()) if peer != "gneiss"]}, out,
                  indent=1)


def load(folder):
    """All groups that were measured, each in its last run."""
    found = {}
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        if name.endswith(".json"):
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                found[name[:-5]] = json.load(file)
    return found


# ---- the plot: ratios on a logarithmic scale, a tick for each bar ----
COLOURS = ["#4c72b0", "#dd8452", "#55a868", "#c44e52", "#8172b3", "#937860", "#8c8c8c"]


def plot(results, path):
    import math
    peers = peers_of(results)
    left, width, step, line = 290, 640, 11, 6
    low, high = 0.05, 50.0

    def at(ratio):
        ratio = min(max(ratio, low), high)
        return left + width * math.log(ratio / low) / math.log(high / low)

    out, y = [], 50
    for result in results:
        there = [peer for peer in peers if peer in result["rates"]]
        out.append('<text x="%d" y="%d" text-anchor="end">%s</text>' %
                   (left - 8, y + step * len(there) / 2 + 2, escape(label(result))))
        for peer in there:
            found = verdict(result, peer)
            colour = COLOURS[peers.index(peer) % len(COLOURS)]
            begin, end = sorted((at(1.0), at(found["ratio"])))
            out.append('<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s"/>' %
                       (begin, y, max(end - begin, 1), step - 3, colour))
            out.append('<path d="M%.1f %dH%.1f" stroke="#222"/>' %
                       (at(found["low"]), y + 4, at(found["high"])))
            if found["bar"] is not None:
                out.append('<path d="M%.1f %dv%d" stroke="#d00" stroke-width="2"/>' %
                           (at(found["bar"]), y - 1, step - 1))
            y += step
        y += line
    for mark in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20):
        out.insert(0, '<path d="M%.1f 40V%d" stroke="%s"/><text x="%.1f" y="36" '
                   'text-anchor="middle">%g</text>' %
                   (at(mark), y, "#555" if mark == 1 else "#ddd", at(mark), mark))
    for i, peer in enumerate(peers):
        out.append('<rect x="%d" y="8" width="9" height="9" fill="%s"/><text x="%d" y="17">%s</text>' %
                   (left + i * 90, COLOURS[i % len(COLOURS)], left + i * 90 + 13, escape(peer)))
    with open(path, "w", encoding="utf-8") as file:
        file.write('<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" '
                   'font-family="sans-serif" font-size="10"><rect width="100%%" height="100%%" '
                   'fill="white"/><text x="8" y="17">Gneiss : peer (red: the bar)</text>%s</svg>\n' %
                   (left + width + 30, y + 10, "\n".join(out)))


# ---- the page ----
def section(saved):
    about = saved["machine"]
    said = ["%s, %d processors, %d GiB, Linux %s; %s, commit %s; %d rounds%s%s." % (
        about["processor"], about["processors"], about["memory_gib"], about["kernel"],
        about["date"], about["commit"], saved["rounds"], ", quick form" if saved["quick"] else "",
        "; **busy**: a load of %.0f beside it" % about["load"]
        if about["load"] > 2 * about["processors"] else "")]
    results = saved["results"]
    if results and "points" in results[0]:
        return "\n".join(said + ["\n" + curves.table(curve) for curve in results])
    if any(result["bars"] for result in results):
        said += ["", bar_table(results)]
    return "\n".join(said + ["", ratio_table(results)])


def write_page(folder):
    """Put the tables of the last runs between the page's marks, <!-- bench: NAME --> … <!-- end -->."""
    with open(PAGE, encoding="utf-8") as file:
        text = file.read()
    for name, saved in load(folder).items():
        mark = r"(<!-- bench: %s -->\n).*?(<!-- end -->)" % re.escape(name)
        text = re.sub(mark, lambda found, s=saved: found.group(1) + section(s) + "\n" +
                      found.group(2), text, flags=re.S)
    with open(PAGE, "w", encoding="utf-8") as out:
        out.write(text)
