#!/bin/sh
# Dumps the database, proves the dump by restoring it beside the original and counting every table
# again, and only then gives it its name. What is older than KEEP_DAYS goes, but never the newest.
# One at a time: what another one has in hand would look like what a dead one has left.
#
# Rows are counted in the snapshot that is dumped: work goes on meanwhile.
set -eu
umask 077
folder=$BACKUPS
exec 9>"$folder/.lock"
flock -n 9 || { echo "backup: waits for another one" && flock 9; }
while stamp=$(date -u +%Y%m%dT%H%M%SZ) && [ -e "$folder/$stamp.dump" ]; do sleep 1; done
part=$folder/.$stamp.part
proof=data_miner_proof
export PART="$part.dump"
trap 'rm -f "$part".*; dropdb --if-exists --force "$proof" >/dev/null 2>&1 || true' EXIT
rm -f "$folder"/.*.part.*

count="SELECT format('SELECT %L, count(*) FROM public.%I', relname, relname) FROM pg_class
 WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY relname"

psql --no-psqlrc --quiet --tuples-only --no-align -v ON_ERROR_STOP=1 <<SQL
BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY;
SELECT pg_export_snapshot() AS snapshot \gset
\setenv SNAPSHOT :snapshot
\! pg_dump --format=custom --snapshot="\$SNAPSHOT" --file="\$PART" && : >"\$PART.whole"
\o $part.counted
$count \gexec
\o
COMMIT;
SQL
[ -e "$PART.whole" ] || { echo "backup: pg_dump failed" >&2; exit 1; }

dropdb --if-exists --force "$proof"
createdb "$proof"
pg_restore --exit-on-error --no-owner --dbname="$proof" "$PART"
PGDATABASE=$proof psql --no-psqlrc --quiet --tuples-only --no-align -v ON_ERROR_STOP=1 \
    -o "$part.restored" <<SQL
$count \gexec
SQL
if ! cmp -s "$part.counted" "$part.restored"; then
    echo "backup: the restored dump has other rows than the database:" >&2
    diff "$part.counted" "$part.restored" >&2 || true
    exit 1
fi
[ -s "$part.counted" ] || { echo "backup: there are no tables" >&2; exit 1; }

sync
mv "$PART" "$folder/$stamp.dump"
sync
echo "backup: $stamp.dump, $(wc -c <"$folder/$stamp.dump") bytes," \
    "$(wc -l <"$part.counted") tables restored and counted"

newest=$(ls "$folder"/*.dump | sort | tail -n 1)
find "$folder" -name '*.dump' -mtime +"$KEEP_DAYS" ! -path "$newest" -exec rm -f {} + -print
