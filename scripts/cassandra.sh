#!/usr/bin/env bash
# Apache Cassandra, the CQL server of the tests and of `make demo STORE=cql`. Not for production.
#   scripts/cassandra.sh setup              fetches it into .cache/cassandra (once; 67 MB)
#   scripts/cassandra.sh java               prints the Java that runs it; fails where there is none
#   scripts/cassandra.sh run DIR [OPTION..] runs a node in the foreground, with all its files in DIR; ready when its port
#                                           answers. The process is the node itself: signals reach it.
# Options of `run`:
#   --address IP         127.0.0.1      --port N         9042
#   --storage-port N     7000           --heap SIZE      256m
#   --commitlog MODE     batch | group | periodic; only the first two keep through a kill what they acknowledged
#   --seeds IP,IP        the node itself: a node alone     --token N    0
#   --tier N             1: starts soon; 4: runs faster later
#   --secure             asks for passwords (first user: cassandra, cassandra), takes TLS beside plain connections, and
#                        puts its certificate into DIR/tls/ca.pem
#   --dies-with PID      ends with that process, its parent, however that ends
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

home="$CACHE/cassandra"
parts="$ROOT/scripts/cassandra"
lib="$home/lib"

usage() {
    sed -n '2,/^\. /s/^# \{0,1\}//p' "$ROOT/scripts/cassandra.sh" | sed '$d' >&2
    exit 2
}

# Cassandra 5 runs on Java 17 (and 11); a newer default of the system does not help it.
find_java() {
    local candidate
    for candidate in "${JAVA_HOME:+$JAVA_HOME/bin/java}" /usr/lib/jvm/java-17-*/bin/java java; do
        if [ -n "$candidate" ] && "$candidate" -version 2>&1 | grep -qE 'version "(11|17)[."]'; then
            printf '%s\n' "$candidate"
            return 0
        fi
    done
    return 1
}

setup() {
    if cmp -s "$parts/pom.xml" "$home/pom.xml"; then return 0; fi
    only_one cassandra
    if cmp -s "$parts/pom.xml" "$home/pom.xml"; then return 0; fi
    have mvn || die "Maven is missing: scripts/setup.sh test installs it"
    say "setup: fetching Cassandra into .cache/cassandra"
    # Made beside its place and moved there whole, the stamp last: half of it must not look like all of it.
    rm -rf "$home/lib.part" "$lib" "$home/pom.xml"
    mkdir -p "$home"
    mvn -B -q -f "$parts/pom.xml" org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
        -DoutputDirectory="$home/lib.part" </dev/null >&2
    mv "$home/lib.part" "$lib"
    cp "$parts/pom.xml" "$home/pom.xml"
}

# A key and a certificate for TLS, by the tool that comes with Java.
certificate() {
    local dir="$1" address="$2" keytool
    [ ! -e "$dir/tls/ca.pem" ] || return 0
    keytool="$(dirname "$(readlink -f "$(command -v "$java")")")/keytool"
    rm -rf "$dir/tls"
    mkdir -p "$dir/tls"
    "$keytool" -genkeypair -keystore "$dir/tls/keystore.p12" -storetype PKCS12 -storepass adal-tests -alias node \
        -keyalg EC -groupname secp256r1 -dname CN=adal-tests -ext "SAN=IP:$address,DNS:localhost" -validity 3650 >&2
    "$keytool" -exportcert -rfc -keystore "$dir/tls/keystore.p12" -storepass adal-tests -alias node >"$dir/tls/ca.part" 2>/dev/null
    mv "$dir/tls/ca.part" "$dir/tls/ca.pem"
}

run() {
    [ $# -ge 1 ] || usage
    local dir="$1" address=127.0.0.1 port=9042 storage=7000 heap=256m commitlog=batch seeds="" token=0 ring=200 settle=0
    local secure=false parent="" more="" tier=1 authenticator=AllowAllAuthenticator
    shift
    while [ $# -gt 0 ]; do
        case "$1" in
        --secure)
            secure=true authenticator=PasswordAuthenticator
            shift
            continue
            ;;
        esac
        [ $# -ge 2 ] || usage
        case "$1" in
        --address) address="$2" ;;
        --port) port="$2" ;;
        --storage-port) storage="$2" ;;
        --heap) heap="$2" ;;
        --commitlog) commitlog="$2" ;;
        --seeds) seeds="$2" ;;
        --token) token="$2" ;;
        --tier) tier="$2" ;;
        --dies-with) parent="$2" ;;
        *) usage ;;
        esac
        shift 2
    done
    # Nodes that start together listen before they know each other, and then disagree about tables for a minute or more.
    case "$seeds" in *,*) ring=1000 settle=-1 ;; esac
    case "$commitlog" in
    batch) ;;
    group) more="commitlog_sync_group_window: 2ms" ;;
    periodic) more="commitlog_sync_period: 10000ms" ;;
    *) usage ;;
    esac
    # The signal is asked for before anything is started, and outlives exec; a parent that was gone before we asked is
    # seen by our having another one now.
    if [ -n "$parent" ] && [ -z "${ADAL_CASSANDRA_TIED:-}" ]; then
        ADAL_CASSANDRA_TIED=1 exec setpriv --pdeathsig KILL "$ROOT/scripts/cassandra.sh" run "${arguments[@]:1}"
    fi
    if [ -n "$parent" ] && [ "$PPID" != "$parent" ]; then die "process $parent is gone"; fi

    [ -e "$home/pom.xml" ] || die "Cassandra is not there: run scripts/cassandra.sh setup"
    java="$(find_java)" || die "Java 17 is missing: scripts/setup.sh test installs it (openjdk-17-jre-headless)"
    mkdir -p "$dir/conf"
    dir="$(cd "$dir" && pwd)"
    if [ "$secure" = true ]; then certificate "$dir" "$address"; fi
    sed -e "s|@DIR@|$dir|g; s|@ADDRESS@|$address|g; s|@PORT@|$port|g; s|@STORAGE_PORT@|$storage|g" \
        -e "s|@SEEDS@|${seeds:-$address}|g; s|@TOKEN@|$token|g; s|@TLS@|$secure|g; s|@AUTHENTICATOR@|$authenticator|g" \
        -e "s|@COMMITLOG@|$commitlog|g; s|@COMMITLOG_MORE@|$more|g" \
        "$parts/cassandra.yaml" >"$dir/conf/cassandra.yaml"
    sed -e "s|@RING_DELAY@|$ring|g; s|@SETTLE@|$settle|g; s|@TIER@|$tier|g" "$parts/jvm.args" >"$dir/conf/jvm.args"
    local jamm
    jamm="$(echo "$lib"/jamm-*.jar)"
    exec "$java" "-Xms$heap" "-Xmx$heap" "@$dir/conf/jvm.args" "-javaagent:$jamm" \
        "-Dcassandra.config=file://$dir/conf/cassandra.yaml" "-Dcassandra.storagedir=$dir" "-Dcassandra.logdir=$dir" \
        "-Dlogback.configurationFile=file://$parts/logback.xml" "-Djava.io.tmpdir=$dir" \
        -cp "$lib/*" org.apache.cassandra.service.CassandraDaemon
}

arguments=("$@")
case "${1:-}" in
setup) setup ;;
java) find_java ;;
run) run "${@:2}" ;;
*) usage ;;
esac
