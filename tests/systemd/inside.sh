#!/usr/bin/env bash
# The part of tests/systemd/run that runs inside, as root, below a real systemd. Prints PASS or FAIL for each promise
# and a line of counts. Started a second time by the reboot that it asks for.
set -u
share=/opt/taskd-test
kept=/var/lib/taskd-test      # what must outlive the reboot
unset TASKD_SOCKET
passed=0 failed=0

# ---- words

wait_for() { # wait_for SECONDS COMMAND...: until it is true
    local end=$((SECONDS + $1)); shift
    until "$@"; do [ $SECONDS -lt $end ] || { echo "waited in vain: $*" >&2; return 1; }; sleep 0.05; done 2>/dev/null
}
prove() { # prove NAME: the function of that name, as a test
    local said
    if said=$("$1" 2>&1); then echo "PASS $1"; passed=$((passed + 1)); return; fi
    echo "FAIL $1"; failed=$((failed + 1))
    [ -z "$said" ] || sed 's/^/    /' <<<"$said"
    journalctl -n 25 -o short-monotonic --no-pager -u taskd -u taskd-runner | sed 's/^/    | /'
    systemctl start taskd # for the next one
}
finish() {
    echo "$passed passed, $failed failed"
    [ $failed = 0 ]
    exit
}
main_pid() { systemctl show -P MainPID "$1"; }
kill_main() { [ "$2" -gt 1 ] || { echo "$1 does not run"; return 1; }; kill -KILL "$2"; } # kill_main UNIT PID
is_active() { [ "$(systemctl show -P ActiveState "$1")" = active ]; }
field() { tr -d ' \n' | grep -oE "\"$1\":(\"[^\"]*\"|[^,}]*)" | head -n 1 | cut -d: -f2- | tr -d '"'; } # of JSON on stdin
newest() { taskctl runs "$1" --limit 1 --json | field "$2"; } # newest TASK FIELD
is() { [ "$(newest "$1" "$2")" = "$3" ] || { echo "$2 of $1 is $(newest "$1" "$2"), not $3"; return 1; }; }
has_runner() { local pid; pid=$(taskctl status --json | grep -oE '"runner": *\{[^}]*' | field pid) && [[ $pid =~ ^[0-9]+$ ]]; }
identity() { cut -d' ' -f1,22 "/proc/$1/stat"; } # a process id and its start time: no other process has both

# A task whose run writes its process id, waits for a file, and ends with 7.
gated() {
    rm -f "/tmp/$1".{pid,go}
    taskctl add --name "$1" --manual --shell \
        "echo begun; echo \$\$ >/tmp/$1.new; mv /tmp/$1.new /tmp/$1.pid; until [ -e /tmp/$1.go ]; do sleep 0.05; done; echo ended; exit 7" &&
        taskctl run "$1" && wait_for 10 test -e "/tmp/$1.pid"
}
open_gate() { touch "/tmp/$1.go"; }
lives() { identity "$(cat "/tmp/$1.pid")"; }
gone() { [ ! -e "/proc/$(cat "/tmp/$1.pid")" ]; }
# Its run goes on as the same process, ends when it should, and all of that is recorded.
ends_well() { # ends_well TASK IDENTITY
    [ "$(lives "$1")" = "$2" ] || { echo "the run did not survive"; return 1; }
    open_gate "$1"
    recorded "$1"
}
recorded() {
    wait_for 20 is "$1" state finished && is "$1" outcome failed && is "$1" exit_code 7 &&
        [ "$(taskctl logs "$1")" = $'begun\nended' ] || { taskctl runs "$1" --json; taskctl logs "$1"; return 1; }
}

# ---- promises

units_verify() {
    local said
    said=$(systemd-analyze verify /usr/lib/systemd/system/taskd{,-runner}.service 2>&1) && [ -z "$said" ] || { echo "$said"; return 1; }
}
start_returns_when_it_serves() {
    systemctl start taskd && taskctl status && has_runner
}
runner_is_a_unit_of_its_own() {
    gated own || return
    grep -q '/taskd-runner.service' "/proc/$(cat /tmp/own.pid)/cgroup" && is_active taskd-runner || return
    open_gate own; recorded own
}
a_run_learns_nothing_of_the_service() {
    taskctl add --name env --manual -- env && taskctl run --wait env || return
    ! taskctl logs env | grep -E '^(NOTIFY_SOCKET|WATCHDOG_|INVOCATION_ID|JOURNAL_STREAM|STATE_DIRECTORY|MAINPID)'
}
restart_leaves_a_run_alone() {
    gated restarted || return
    local before pid; before=$(lives restarted); pid=$(main_pid taskd)
    systemctl restart taskd && taskctl status && [ "$(main_pid taskd)" != "$pid" ] && ends_well restarted "$before"
}
stop_and_start_leave_a_run_alone() {
    gated stopped || return
    local before; before=$(lives stopped)
    systemctl stop taskd && [ "$(systemctl show -P Result taskd)" = success ] || return
    taskctl status; [ $? = 3 ] || { echo "something still answers"; return 1; }
    [ "$(lives stopped)" = "$before" ] || return
    # It ends while no daemon is there to see it.
    open_gate stopped; wait_for 10 gone stopped && systemctl start taskd && recorded stopped
}
came_back() { # came_back UNIT PID: it serves as another process than that
    local pid; pid=$(main_pid "$1")
    [ "$pid" != 0 ] && [ "$pid" != "$2" ] && is_active "$1"
}
killed_daemon_comes_back() {
    gated orphaned || return
    local before pid; before=$(lives orphaned); pid=$(main_pid taskd)
    kill_main taskd "$pid" && wait_for 20 came_back taskd "$pid" && taskctl status && ends_well orphaned "$before"
}
killed_runner_comes_back_and_its_run_is_unknown() {
    gated doomed || return
    local pid; pid=$(main_pid taskd-runner)
    kill_main taskd-runner "$pid" && wait_for 20 came_back taskd-runner "$pid" && wait_for 20 gone doomed &&
        wait_for 20 is doomed state finished && is doomed outcome unknown || return
    wait_for 20 has_runner && taskctl add --name next --manual --shell 'exit 5' || return
    taskctl run --wait next; [ $? = 5 ]
}
reload_keeps_the_process() {
    local pid; pid=$(main_pid taskd)
    mkdir -p /etc/taskd && printf '[log]\nlevel = "debug"\n' >/etc/taskd/taskd.toml
    systemctl reload taskd && taskctl status && [ "$(main_pid taskd)" = "$pid" ] || return
    # A configuration that is wrong changes nothing.
    printf '[log]\nlevl = "debug"\n' >/etc/taskd/taskd.toml
    systemctl reload taskd && taskctl status && [ "$(main_pid taskd)" = "$pid" ] && is_active taskd || return
    rm /etc/taskd/taskd.toml
}
beaten_since() { [ "$(systemctl show -P WatchdogTimestampMonotonic taskd)" -gt "$1" ]; }
watchdog_is_fed() {
    mkdir -p /run/systemd/system/taskd.service.d
    printf '[Service]\nWatchdogSec=2\n' >/run/systemd/system/taskd.service.d/watchdog.conf
    systemctl daemon-reload && systemctl restart taskd || return
    local beat
    for _ in 1 2 3; do
        beat=$(systemctl show -P WatchdogTimestampMonotonic taskd)
        wait_for 5 beaten_since "$beat" || return
    done
    rm -r /run/systemd/system/taskd.service.d
    systemctl daemon-reload && systemctl restart taskd && taskctl status
}
files_are_where_they_belong() {
    [ -S /run/taskd/taskd.sock ] && [ -s /var/log/taskd/taskd.log ] && [ -S /var/lib/taskd/runner.sock ] || return
    [ "$(stat -c %a /var/lib/taskd)" = 700 ] && [ "$(stat -c %a /run/taskd)" = 755 ] && [ "$(stat -c %a /var/log/taskd/taskd.log)" = 600 ]
}
journal_has_priorities() {
    journalctl -u taskd -o json --no-pager | grep '"MESSAGE":"run finished' | grep -q '"PRIORITY":"6"' ||
        { journalctl -u taskd -o cat -n 5 --no-pager; return 1; }
}

# ---- an ordinary user, with units of her own

as_alice() {
    local id; id=$(id -u alice)
    runuser -u alice -- env -i PATH="$PATH" HOME=/home/alice USER=alice LOGNAME=alice XDG_RUNTIME_DIR="/run/user/$id" \
        DBUS_SESSION_BUS_ADDRESS="unix:path=/run/user/$id/bus" "$@"
}
user_manager_runs() { is_active "user@$(id -u alice).service"; }
user_units_verify() {
    local said
    said=$(as_alice systemd-analyze --user verify /usr/lib/systemd/user/taskd{,-runner}.service 2>&1) && [ -z "$said" ] || { echo "$said"; return 1; }
}
a_user_has_a_daemon_of_her_own() {
    cd /home/alice && as_alice systemctl --user start taskd && as_alice taskctl status || return
    as_alice taskctl add --name hers --manual -- id -u && as_alice taskctl run --wait hers || return
    [ "$(as_alice taskctl logs hers)" = "$(id -u alice)" ] || return
    # Not the system's tasks, nor the system hers.
    ! as_alice taskctl list --json | grep -q restarted && ! taskctl list --json | grep -q hers
}
a_users_run_survives_a_restart() {
    cd /home/alice; rm -f /tmp/alice.*
    as_alice taskctl add --name long --manual --shell \
        'echo $$ >/tmp/alice.new; mv /tmp/alice.new /tmp/alice.pid; until [ -e /tmp/alice.go ]; do sleep 0.05; done; exit 7' &&
        as_alice taskctl run long && wait_for 10 test -e /tmp/alice.pid || return
    local before; before=$(lives alice)
    as_alice systemctl --user restart taskd && as_alice taskctl status && [ "$(lives alice)" = "$before" ] || return
    touch /tmp/alice.go; wait_for 20 hers_is_recorded
}
hers_is_recorded() { [ "$(as_alice taskctl runs long --limit 1 --json | field exit_code)" = 7 ]; }

# ---- a reboot

comes_back_with_the_machine() {
    wait_for 20 is_active taskd && taskctl status && taskctl show own >/dev/null && wait_for 20 has_runner
}
a_run_cut_off_by_the_reboot_has_an_outcome() {
    wait_for 20 is cut state finished && [ "$(newest cut outcome)" != null ] || { taskctl runs cut --json; return 1; }
    echo "$(newest cut outcome)"
}

if [ "${WITH_SYSTEMD_BOOT:-1}" != 1 ]; then
    read -r passed failed <"$kept/counts"
    prove comes_back_with_the_machine
    prove a_run_cut_off_by_the_reboot_has_an_outcome
    finish
fi

install -m 755 "$share/taskd" "$share/taskctl" /usr/bin/
install -m 644 "$share"/units/*.service /usr/lib/systemd/system/
install -m 644 "$share"/units/user/*.service /usr/lib/systemd/user/
systemctl daemon-reload
cd /

prove units_verify
prove start_returns_when_it_serves
prove files_are_where_they_belong
prove runner_is_a_unit_of_its_own
prove a_run_learns_nothing_of_the_service
prove restart_leaves_a_run_alone
prove stop_and_start_leave_a_run_alone
prove killed_daemon_comes_back
prove killed_runner_comes_back_and_its_run_is_unknown
prove reload_keeps_the_process
prove watchdog_is_fed
prove journal_has_priorities

id alice >/dev/null 2>&1 || useradd -m alice
loginctl enable-linger alice && wait_for 20 user_manager_runs
prove user_units_verify
prove a_user_has_a_daemon_of_her_own
prove a_users_run_survives_a_restart

gated cut && systemctl enable --quiet taskd || { echo "FAIL preparing the reboot"; failed=$((failed + 1)); finish; }
mkdir -p "$kept" && echo "$passed $failed" >"$kept/counts" && sync
systemctl reboot
wait_for 60 false
