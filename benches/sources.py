"""The bars of sources; `benches/run database|sftp` measures them, with rows that are thrown away.

`database`  A table of `--rows` rows of 100 bytes (a key, three texts, a decimal, a time), read page by page: PostgreSQL and
            MariaDB by our own drivers, both by ODBC where it can be had; psql's `copy … to stdout`, which has no pages, beside.
`sftp`      One CSV file of `--rows` such rows by our SFTP source (listed, hashed, read and decoded), and OpenSSH's `sftp`
            copying the same file to a directory of this machine, which only copies."""
import os, shutil, subprocess, sys, time, urllib.parse
from pathlib import Path

COLUMNS = "{ id: text, 名称: text, 地址: text, 代码: text, 金额: text, 时间: text }"
ROW = "i, '企业' || lpad(i::text, 8, '0'), '山东省青岛市香港中路' || (i % 999), '91370202' || lpad(i::text, 10, '0'), i * 1.25, timestamp '2026-10-01' + i * interval '1 second'"


def servers(bench, names):
    up = subprocess.run([bench.ROOT / "deploy/dev/services", "up", *names], capture_output=True, text=True, check=True)
    lines = (line.removeprefix("export ").partition("=") for line in up.stdout.splitlines())
    return {name.removeprefix("HUILIU_TEST_"): value.strip("'") for name, _, value in lines}


def discard(bench, flags, ws, source, dataset, name, *more):
    """Reads a dataset `x.t` and throws its rows away."""
    (ws / "connectors").mkdir(parents=True, exist_ok=True)
    (ws / "connectors/x.yaml").write_text(f"version: 1\ndepartment: 局\nsource: {source}\ndatasets:\n  t:\n{dataset}\n    key: [id]\n    extract: full\n    columns: {COLUMNS}\n", encoding="utf-8")
    command = ["cargo", "bench", "--locked", "--quiet", *flags, "--bench", "source", "--", ws, "x.t", name, *map(str, more)]
    subprocess.run(command, cwd=bench.ROOT, check=True)


def said(name, started, **figures):
    seconds = time.time() - started
    shown = " ".join(f"{key}={value / seconds:.0f}" for key, value in figures.items())
    print(f"{name} seconds={seconds:.2f} {shown}", flush=True)


def database(bench, flags, rows):
    known = servers(bench, ["postgres", "mariadb"])
    postgres, mariadb = (urllib.parse.urlsplit(known[name]) for name in ("POSTGRES", "MARIADB"))
    psql = next((str(p) for p in sorted(Path("/usr/lib/postgresql").glob("*/bin/psql"), reverse=True)), "psql")
    subprocess.run([psql, postgres.geturl(), "-qX", "-v", "ON_ERROR_STOP=1", "-c", "drop table if exists bench_rows", "-c",
        f"create table bench_rows (id, 名称, 地址, 代码, 金额, 时间) as select {ROW} from generate_series(1, {rows}) i", "-c",
        "alter table bench_rows add primary key (id)", "-c", "alter table bench_rows alter 名称 type varchar(40), alter 地址 type varchar(60), alter 代码 type varchar(20)", "-c", "analyze bench_rows"], check=True)
    started = time.time()
    dump = bench.DATA / "bench_rows.csv"
    with open(dump, "wb") as out:
        subprocess.run([psql, postgres.geturl(), "-qX", "-c", "copy bench_rows to stdout with (format csv)"], stdout=out, check=True)
    size = dump.stat().st_size
    said("database_psql_copy", started, rows_per_s=rows, mb_per_s=size / 1e6)
    client = ["mariadb", "--host", mariadb.hostname, "--port", str(mariadb.port), "--user", mariadb.username, f"--password={mariadb.password}", "--local-infile=1", "huiliu"]
    setup = f"""drop table if exists bench_rows; create table bench_rows (id int primary key, 名称 varchar(40), 地址 varchar(60),
        代码 varchar(20), 金额 decimal(20,2), 时间 datetime) character set utf8mb4;
        load data local infile '{dump}' into table bench_rows character set utf8mb4 fields terminated by ',' optionally enclosed by '"';"""
    subprocess.run(client, input=setup.encode(), check=True)
    ws, table = bench.DATA / "source", "    table: bench_rows"
    ws.mkdir(parents=True, exist_ok=True)
    (ws / "password").write_text("huiliu")
    who = "user: huiliu, password: file:password"
    for name, url, driver in (("postgres", postgres, "PostgreSQL Unicode"), ("mariadb", mariadb, "MariaDB Unicode")):
        own = f"{'postgres' if name == 'postgres' else 'mysql'}://{url.hostname}:{url.port}/huiliu"
        discard(bench, flags, ws, f'{{ kind: database, url: "{own}", {who} }}', table, f"database_{name}", size)
        if flags:
            odbc = f"odbc:Driver={{{driver}}};Server={url.hostname};Port={url.port};Database=huiliu"
            discard(bench, flags, ws, f'{{ kind: database, url: "{odbc}", {who} }}', table, f"database_odbc_{name}", size)


def sftp(bench, flags, rows):
    known = servers(bench, ["sftp"])
    url, keys, host_key = known["SFTP"], known["SFTP_KEYS"], known["SFTP_HOST_KEY"]
    directory = Path(known["FILES"]) / "sftp/bench"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    file = directory / "QY_1.csv"
    with open(file, "w", encoding="utf-8") as out:
        out.write("id,名称,地址,代码,金额,时间\n")
        for i in range(rows):
            out.write(f"{i},企业{i:08},山东省青岛市香港中路{i % 999},91370202{i:010},{i * 1.25},2026-10-01 08:30:00\n")
    os.utime(file, (time.time() - 3600,) * 2)
    size, user = file.stat().st_size, os.environ.get("USER", "root")
    copy = bench.DATA / "sftp-copy"
    port = urllib.parse.urlsplit(url).port
    options = ["-q", "-P", str(port), "-i", f"{keys}/user_key", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    started = time.time()
    subprocess.run(["sftp", *options, f"{user}@127.0.0.1:{file}", copy], check=True, capture_output=True)
    said("sftp_openssh_copy", started, rows_per_s=rows, mb_per_s=size / 1e6)
    copy.unlink()
    source = f'{{ kind: files, root: "{url}/bench", user: {user}, key: "file:{keys}/user_key", host_key: "{host_key}", settle: {{ quiet: 1s }} }}'
    discard(bench, flags, bench.DATA / "source", source, "    path: QY_*.csv\n    format: { kind: csv, encoding: auto }", "sftp_source", size)
    shutil.rmtree(directory)


def measure(bench, what, options):
    odbc = subprocess.run([bench.ROOT / "deploy/dev/services", "odbc"], capture_output=True, text=True).stdout.split()
    if "database" in what:
        database(bench, odbc, options.rows)
    if "sftp" in what:
        sftp(bench, odbc, options.rows)
