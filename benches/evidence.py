"""The bars of evidence; `benches/run statement|verify|sealing [--rows N]` measures them, with a P-256 key and with SM2.

`statement`  A subscriber's SQLite table of N equal records is compared with the office's statement: seconds, bytes exchanged
             (statement, signature, and what is read of the file of ranges); then again with one record altered, to see that it is
             found, and for how much. Bars: 5 s, 100 KB.
`verify`     `huiliu verify` over an archive of N records: records a second of processor time, that is to say per core. Bars:
             200,000 with SHA-256, 60,000 with SM3.
`sealing`    A release of N records, and what of its processor time is evidence: record digests, Merkle roots, body digests,
             signatures, done again alone by benches/evidence.rs over the same batches. Cost is evidence against the rest, which is
             what the same release would take unsigned. Bars: 15 % with P-256, 40 % with SM2."""
import json, os, resource, shutil, sqlite3, subprocess, sys

FEED = "bench.enterprise"
SUITES = {"p256": "sha256", "sm2": "sm3"}


def say(name, **figures):
    shown = " ".join(f"{key}={value:.2f}" if isinstance(value, float) else f"{key}={value}" for key, value in figures.items())
    print(f"{name} {shown}", flush=True)


class Office:
    """A workspace of this suite with N records in its register, and its binary."""

    def __init__(self, bench, suite, rows):
        self.bench, self.suite = bench, suite
        self.ws = bench.workspace(f"evidence-{suite}")
        self.run("key", "dev-ca", "--into", "pki", "--suite", suite)
        self.pki = next(self.ws.glob("pki/**/signing.key")).parent
        key, chain = ((self.pki / name).relative_to(self.ws) for name in ("signing.key", "signing.pem"))
        (self.ws / "huiliu.yaml").write_text(f"version: 1\nsigning: {{ key: {key}, chain: {chain} }}\n", encoding="utf-8")
        path, known = bench.w1(rows)
        bench.offer(self.ws, path, "QYDJ_1.csv")
        bench.expect(bench.load(f"evidence_{suite}_load", self.ws, known["rows"]), known)

    def run(self, *words, codes=(0,)):
        """Seconds of wall and of processor time, and what it printed."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        watch = self.bench.Watch()
        done = subprocess.run([self.bench.BIN, "--dir", self.ws, "--json", *map(str, words)], capture_output=True)
        wall, stolen = watch.read()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode not in codes:
            sys.exit(f"huiliu {words[0]}: exit {done.returncode}: {done.stderr.decode()}{done.stdout.decode()[:2000]}")
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return {"seconds": wall, "cpu": cpu, "stolen": f"{stolen:.0f}%", "out": done.stdout}

    def release(self):
        done = self.run("feed", "release", FEED)
        return done, json.loads(done["out"])[0]["released"]

    @property
    def spool(self):
        return self.ws / ".huiliu/spool" / FEED


def sealing(bench, office, done, records):
    key, chain = office.pki / "signing.key", office.pki / "signing.pem"
    command = ["cargo", "bench", "--locked", "--quiet", "--bench", "evidence", "--", office.spool, key, chain]
    out = subprocess.run(command, cwd=bench.ROOT, check=True, capture_output=True, text=True).stdout
    evidence = dict(word.split("=") for word in out.split())
    spent = float(evidence["evidence_s"])
    say("sealing", suite=office.suite, records=records, release_s=done["seconds"], release_cpu_s=done["cpu"], evidence_s=spent,
        cost=f"{100 * spent / max(done['cpu'] - spent, 1e-9):.1f}%", stolen=done["stolen"])
    print("  " + out.strip(), flush=True)


def verify(office, records):
    manifests = sorted(office.spool.glob("*.manifest.json"))
    done = office.run("verify", "--trust", office.pki / "ca.pem", *manifests)
    proven = json.loads(done["out"])
    found = sum(one["proven"]["manifest"]["body"]["records"] for one in proven)
    if found != records:
        sys.exit(f"verify: {found} records proven, {records} sent")
    say("verify", suite=office.suite, digest=SUITES[office.suite], records=found, seconds=done["seconds"], cpu_s=done["cpu"],
        records_per_core_s=f"{found / done['cpu']:.0f}", stolen=done["stolen"])


def statement(office, records):
    target, trust = office.ws / "theirs.db", office.pki / "ca.pem"
    target.unlink(missing_ok=True)
    spool = f"spool:{office.ws / '.huiliu/spool'}"
    office.run("receive", "--from", spool, "--feed", FEED, "--trust", trust, "--to", f"sqlite:{target}")
    made = office.run("statement", FEED)
    ranges = next(office.spool.glob("*.ranges")).stat().st_size
    say("statement_made", suite=office.suite, seconds=made["seconds"], records=records, file_of_ranges_mib=ranges >> 20)
    check = ["receive", "statement", "--check", "--from", spool, "--feed", FEED, "--trust", trust, "--to", f"sqlite:{target}"]

    def compared(name, complete):
        done = office.run(*check, codes=(0,) if complete else (3,))
        one = json.loads(done["out"])["statements"][0]
        if (one["complete"], one["altered"]) != (complete, 0 if complete else 1) or one["held"] != records:
            sys.exit(f"{name}: {one}")
        say(name, suite=office.suite, records=one["held"], seconds=done["seconds"], cpu_s=done["cpu"],
            bytes_exchanged=one["bytes"] + one["bytes_read"], stolen=done["stolen"])

    compared("statement_equal", True)
    with sqlite3.connect(target) as db:
        db.execute("update enterprise set name = name || '!' where _id = (select max(_id) / 2 from enterprise)")
    compared("statement_one_altered", False)


def measure(bench, what, options):
    for suite in SUITES:
        office = Office(bench, suite, options.rows)
        done, records = office.release()
        if "sealing" in what:
            sealing(bench, office, done, records)
        if "verify" in what:
            verify(office, records)
        if "statement" in what:
            statement(office, records)
        shutil.rmtree(office.ws, ignore_errors=True)
