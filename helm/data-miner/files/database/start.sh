#!/bin/sh
# Makes the database once, then runs it. Needs of the image: initdb and postgres on the PATH.
#
# What initdb makes becomes visible by one rename: a power cut before it leaves nothing but a
# folder that the next start removes.
set -eu
umask 077
secret=$PASSWORD_FILE
told=$PGDATA/data-miner.password

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    new=$PGDATA.new
    rm -rf "$new"
    initdb --pgdata="$new" --username=data_miner --pwfile="$secret" --encoding=UTF8 \
        --locale=C.UTF-8 --auth-local=trust --auth-host=scram-sha-256 --data-checksums
    echo "host all all all scram-sha-256" >>"$new/pg_hba.conf"
    echo "CREATE DATABASE \"$DATABASE_NAME\"" | postgres --single -D "$new" postgres
    # A statement that fails in there fails nothing out here; a database that is missing does.
    postgres --single -D "$new" "$DATABASE_NAME" </dev/null >/dev/null || {
        echo "start: the database $DATABASE_NAME could not be made" >&2
        exit 1
    }
    cksum <"$secret" >"$new/data-miner.password"
    sync
    mv "$new" "$PGDATA"
    sync
elif [ "$(cat "$told" 2>/dev/null)" != "$(cksum <"$secret")" ]; then
    # The Secret has another password than the database: the Secret is right.
    escaped=$(sed "s/'/''/g" "$secret")
    echo "ALTER ROLE data_miner PASSWORD '$escaped'" | postgres --single -D "$PGDATA" postgres >/dev/null
    cksum <"$secret" >"$told.new"
    mv "$told.new" "$told"
fi

exec postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/tmp "$@"
