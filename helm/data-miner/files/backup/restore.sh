#!/bin/sh
# Puts a dump in the place of the database: BACKUP names it, the newest by default.
#
# It is restored beside the database first and takes its name at the end; what was there stays under
# the name that is printed. Stop operator and workers before: whoever is connected is cut off.
set -eu
folder=$BACKUPS
new=${PGDATABASE}_new
old=${PGDATABASE}_$(date -u +%Y%m%dt%H%M%Sz)
exec 9>"$folder/.lock"
flock -n 9 || { echo "restore: waits for a backup, or for another one" && flock 9; }
dump=$folder/${BACKUP:-$(cd "$folder" && ls -- *.dump | sort | tail -n 1)}
[ -s "$dump" ] || { echo "restore: there is no $dump" >&2; exit 1; }

export PGDATABASE=postgres
# The network may not know this pod yet.
tries=60
until pg_isready --quiet --timeout=5; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || { echo "restore: the database does not answer" >&2; exit 1; }
    sleep 1
done
dropdb --if-exists --force "$new"
createdb "$new"
pg_restore --exit-on-error --no-owner --dbname="$new" "$dump"
psql --no-psqlrc --quiet -v ON_ERROR_STOP=1 -v name="$DATABASE_NAME" -v new="$new" -v old="$old" <<'SQL'
SELECT count(pg_terminate_backend(pid)) AS cut_off FROM pg_stat_activity WHERE datname = :'name' \gset
BEGIN;
ALTER DATABASE :"name" RENAME TO :"old";
ALTER DATABASE :"new" RENAME TO :"name";
COMMIT;
SQL
echo "restore: $(basename "$dump") is the database $DATABASE_NAME; what was there is $old"
