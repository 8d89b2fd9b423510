"""Workload `live` of benches/run: what a change takes from the file that brings it to twenty receivers."""
import json, os, random, re, signal, subprocess, sys, threading, time
from pathlib import Path

from servers import broker_lines, feed_file, say, workspace

BASE = 100_000  # enterprises that are there beforehand
HEAD = "统一社会信用代码,企业名称,法定代表人,企业类型,注册资本,成立日期,经营范围,登记机关,住所,登记状态,更新时间"
SENT = re.compile(rb"@(\d+)#")  # when a record was written, in its address


def p99(latencies):
    latencies = sorted(latencies)
    return latencies[int(len(latencies) * 0.99)] if latencies else float("nan")


class Receiver(threading.Thread):
    """`huiliu receive --follow` of one subscriber; the latency of every record that was written for the bench."""

    def __init__(self, servers, ws, subscriber):
        super().__init__(daemon=True)
        self.latencies, self.subscriber = [], subscriber
        feed = f"{subscriber}.enterprise"
        command = [servers.bench.BIN, "receive", "--feed", feed, "--trust", ws / ".huiliu/dev-ca.pem", "--to", "ndjson:-",
                   "--state", ws / f"{subscriber}.cursor.json", "--follow"]
        environment = {**os.environ, "HUILIU_RECEIVE_FROM": servers.broker._replace(path="/huiliu-bench").geturl()}
        self.process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
        self.start()

    def run(self):
        for line in self.process.stdout:
            now = time.time()
            sent = SENT.search(line)
            if sent:
                self.latencies.append(now - int(sent.group(1)) / 1000)

    def end(self):
        self.process.terminate()
        self.process.wait(30)


def definitions(servers, subscribers):
    ws = workspace(servers, "live", broker_lines(servers) + "serve: { listen: 127.0.0.1:17170, workers: 3 }\n")
    connector = ws / "connectors/market-regulation.yaml"
    text = connector.read_text(encoding="utf-8")
    columns = "".join(f"      {name}: text\n" for name in HEAD.split(","))
    connector.write_text(text.rstrip("\n") + "\n  changes:\n    title: 变更\n    path: BG_*.csv\n    format: { kind: csv, encoding: utf-8 }\n"
                         "    key: [统一社会信用代码]\n    updated: 更新时间\n    extract: append\n    columns:\n" + columns, encoding="utf-8")
    mapping = ws / "mappings/market-regulation"
    (mapping / "changes.enterprise.sql").write_text((mapping / "enterprise.enterprise.sql").read_text(encoding="utf-8"), encoding="utf-8")
    (ws / "pipelines/live.yaml").write_text("version: 1\ntitle: 变更\nfrom: market-regulation.changes\ninto: [enterprise]\nschedule: '* * * * * *'\n",
                                            encoding="utf-8")
    for subscriber in subscribers:
        feed_file(ws, subscriber)
    return ws


def offer(ws, rows, nth):
    """A file of changes, there all at once; its time lies back, so that nobody waits whether it still grows."""
    now = time.time()
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now))
    text = "".join(",".join([*row[:8], f"山东省青岛市市南区漓江路{nth}号@{int(now * 1000)}#", row[9], stamp]) + "\n" for row in rows)
    box = ws / "outbox/market-regulation"
    part = box / f".BG_{nth}.part"
    part.write_text(HEAD + "\n" + text, encoding="utf-8")
    os.utime(part, (now - 3600, now - 3600))
    part.rename(box / f"BG_{nth:08}.csv")


class Scene:
    """The daemon, the receivers, and the changes."""

    def __init__(self, servers, options):
        self.servers, self.options, self.nth = servers, options, 0
        self.subscribers = [f"s{n:02}" for n in range(options.subscribers)]
        servers.fresh("ours")
        self.ws = definitions(servers, self.subscribers)
        bench = servers.bench
        path, _ = bench.w1(BASE)
        with open(path, encoding="gb18030") as f:
            rows = [line.rstrip("\n").split(",") for line in f][1:]
        self.rows = [row for row in rows if len(row) == 11 and row[0].isupper() or row[0].isdigit()]
        bench.offer(self.ws, path, "QYDJ_1.csv")
        self.huiliu("run", "enterprise-registration", "--no-release")
        self.huiliu("feed", "provision")
        self.huiliu("feed", "release")
        self.receivers = [Receiver(servers, self.ws, subscriber) for subscriber in self.subscribers]
        log = open(self.ws / "serve.log", "w")
        self.daemon = subprocess.Popen([str(bench.BIN), "--dir", str(self.ws), "serve"], stdout=log, stderr=log)

    def huiliu(self, *words):
        command = [str(self.servers.bench.BIN), "--dir", str(self.ws), *words]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode not in (0, 3):
            sys.exit(f"{' '.join(words)}: exit {done.returncode}: {done.stderr[-2000:]}")
        return done.stdout

    def drive(self, name, seconds, without=()):
        """Changes every second; what the receivers saw of them."""
        rnd, start = random.Random(7), time.time()
        for receiver in self.receivers:
            receiver.latencies.clear()
        for second in range(seconds):
            time.sleep(max(0, start + second - time.time()))
            self.nth += 1
            offer(self.ws, rnd.sample(self.rows, self.options.rate), self.nth)
        wanted, patience = seconds * self.options.rate * 0.97, time.time() + 60  # a few rows of W1 are bad
        there = [receiver for receiver in self.receivers if receiver.subscriber not in without]
        while min(len(receiver.latencies) for receiver in there) < wanted and time.time() < patience:
            time.sleep(0.5)
        each = [p99(receiver.latencies) for receiver in there]
        everything = [latency for receiver in there for latency in receiver.latencies]
        say(name, subscribers=len(there), changes=seconds * self.options.rate, received=len(everything), p50=sorted(everything)[len(everything) // 2],
            p99=p99(everything), worst_p99=max(each), load=os.getloadavg()[0])
        return p99(everything)

    def end(self):
        for receiver in self.receivers:
            receiver.end()
        self.daemon.send_signal(signal.SIGTERM)
        self.daemon.wait(60)


def live(servers, options):
    scene = Scene(servers, options)
    try:
        scene.drive("live_warm", min(10, options.seconds))
        alone = scene.drive("live", options.seconds)
        blocked = scene.receivers[0]
        blocked.end()
        policy = {"pattern": f"^huiliu\\.feed\\.{blocked.subscriber}\\.", "definition": {"max-length": 1}, "priority": 10, "apply-to": "queues"}
        servers.manage("PUT", "/api/policies/huiliu-bench/blocked", policy)
        beside = scene.drive("live_one_blocked", options.seconds, {blocked.subscriber})
        servers.manage("DELETE", "/api/policies/huiliu-bench/blocked")
        older, _ = servers.bench.w1(1_000_000)
        servers.bench.offer(scene.ws, older, "QYDJ_0.csv")
        scene.huiliu("backfill", "start", "enterprise-registration", "--files", "QYDJ_0.csv")
        filled = scene.drive("live_beside_backfill", options.seconds, {blocked.subscriber})
        status = json.loads(scene.huiliu("--json", "backfill", "status"))
        say("live", p99=alone, blocked_ratio=beside / alone, backfill_ratio=filled / alone, backfill=json.dumps(status)[:200])
    finally:
        scene.end()
