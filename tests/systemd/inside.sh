#!/usr/bin/env bash
# The part of tests/systemd/run that runs inside, as root, below a real systemd. Prints PASS or FAIL for each promise
# and a line of counts. Started a second time by the reboot that it asks for.
set -u
share=/opt/taskd-test
repo=$share/repo              # what the README's commands find where they are run
gates=/run/taskd-test         # where runs and tests meet
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
    if said=$(exec 9>"$gates/trace"; BASH_XTRACEFD=9; set -x; "$1" 2>&1); then echo "PASS $1"; passed=$((passed + 1)); return; fi
    echo "FAIL $1"; failed=$((failed + 1))
    [ -z "$said" ] || sed 's/^/    /' <<<"$said"
    tail -n 15 "$gates/trace" | sed 's/^/    /'
    journalctl -b -n 200 -o short-monotonic --no-pager | grep -i taskd | tail -n 25 | sed 's/^/    | /'
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

as() { # as USER COMMAND...: in a login of that user
    su - "$1" -c "$(printf '%q ' "${@:2}")" </dev/null
}
block() { # block NAME: the commands that the README marks so, into a file, whose name is said
    local file=$gates/$1.sh
    awk -v mark="<!-- run: $1 -->" '
        $0 == mark { marked = 1; next }
        !marked { next }
        /^```/ { if (inside) exit; inside = 1; next }
        inside' "$repo/README.md" >"$file"
    [ -s "$file" ] || { echo "the README has no commands marked $1" >&2; return 1; }
    echo "$file"
}

# A task whose run writes its process id, waits for a file, and ends with 7.
gate() { # gate TASK: its command
    local at=$gates/$1
    echo "echo begun; echo \$\$ >$at.new; mv $at.new $at.pid; until [ -e $at.go ]; do sleep 0.05; done; echo ended; exit 7"
}
gated() {
    taskctl add --name "$1" --manual --shell "$(gate "$1")" && taskctl run "$1" && wait_for 30 test -e "$gates/$1.pid"
}
open_gate() { touch "$gates/$1.go"; }
lives() { identity "$(cat "$gates/$1.pid")"; }
gone() { [ ! -e "/proc/$(cat "$gates/$1.pid")" ]; }
# Its run goes on as the same process, ends when it should, and all of that is recorded.
ends_well() { # ends_well TASK IDENTITY
    [ "$(lives "$1")" = "$2" ] || { echo "the run did not survive"; return 1; }
    open_gate "$1"
    recorded "$1"
}
recorded() {
    wait_for 30 is "$1" state finished && is "$1" outcome failed && is "$1" exit_code 7 &&
        [ "$(taskctl logs "$1")" = $'begun\nended' ] || { taskctl runs "$1" --json; taskctl logs "$1"; return 1; }
}

# ---- promises

readme_installs_for_the_machine() {
    local script; script=$(block systemd-system) || return
    (cd "$repo" && env -i HOME=/root PATH="$PATH" bash -ex "$script") || return
    [ "$(taskctl status --json | field pid)" = "$(main_pid taskd)" ] && systemctl is-enabled taskd
}
units_verify() {
    local said
    said=$(systemd-analyze verify /etc/systemd/system/taskd{,-runner}.service 2>&1) && [ -z "$said" ] || { echo "$said"; return 1; }
}
start_returns_when_it_serves() {
    for _ in 1 2 3; do
        systemctl stop taskd taskd-runner && systemctl start taskd && taskctl status && has_runner || return
    done
}
runner_is_a_unit_of_its_own() {
    gated own || return
    grep -q '/taskd-runner.service' "/proc/$(cat $gates/own.pid)/cgroup" && is_active taskd-runner || return
    open_gate own; recorded own
}
runs_have_groups_that_count() {
    local status controller; status=$(taskctl status --json | tr -d ' \n' | grep -oE '"cgroups":\[[^]]*\]') || return
    # All that the kernel has left to control groups of this version.
    for controller in cpu io memory pids; do
        ! grep -qw $controller /sys/fs/cgroup/cgroup.controllers || grep -w $controller <<<"$status" || return
    done
    ! taskctl show counted || taskctl remove counted || return
    taskctl add --name counted --manual --shell 'grep ^0:: /proc/self/cgroup; env -i setsid sleep 1000 & sleep 0.1' &&
        taskctl run --wait counted && taskctl logs counted | grep '/taskd-runner.service/taskd-' || return
    [[ $status != *memory* ]] || [[ $(newest counted memory_peak_kib) =~ ^[0-9]+$ ]] || return
    [[ $status != *pids* ]] || [ "$(newest counted peak_pids)" -ge 3 ] || return
    # Nothing escapes.
    ! pgrep -a -x sleep | grep 'sleep 1000' && ! grep 'populated 1' /sys/fs/cgroup/system.slice/taskd-runner.service/taskd-*/cgroup.events
}
groups_come_back_with_a_killed_runner() {
    local pid; pid=$(main_pid taskd-runner)
    kill_main taskd-runner "$pid" && wait_for 30 came_back taskd-runner "$pid" && wait_for 30 has_runner || return
    runs_have_groups_that_count
}
a_run_learns_nothing_of_the_service() {
    taskctl add --name env --manual -- env && taskctl run --wait env && taskctl logs env | grep -qx 'TASKD_RUN=env/1' || return
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
    open_gate stopped; wait_for 30 gone stopped && systemctl start taskd && recorded stopped
}
came_back() { # came_back UNIT PID: it serves as another process than that
    local pid; pid=$(main_pid "$1")
    [ "$pid" != 0 ] && [ "$pid" != "$2" ] && is_active "$1"
}
killed_daemon_comes_back() {
    gated orphaned || return
    local before pid; before=$(lives orphaned); pid=$(main_pid taskd)
    kill_main taskd "$pid" && wait_for 30 came_back taskd "$pid" && taskctl status && ends_well orphaned "$before"
}
killed_runner_comes_back_and_its_run_is_unknown() {
    gated doomed || return
    local pid; pid=$(main_pid taskd-runner)
    kill_main taskd-runner "$pid" && wait_for 30 came_back taskd-runner "$pid" && wait_for 30 gone doomed &&
        wait_for 30 is doomed state finished && is doomed outcome unknown || return
    wait_for 30 has_runner && taskctl add --name next --manual --shell 'exit 5' || return
    taskctl run --wait next; [ $? = 5 ]
}
refuses_long() { taskctl add --manual -- echo "$(printf %2000s x)" 2>&1 | grep 'at most 1024'; }
reload_takes_effect_and_keeps_the_process() {
    local pid; pid=$(main_pid taskd)
    mkdir -p /etc/taskd && printf '[limits]\ndefinition_bytes = "1 KiB"\n' >/etc/taskd/taskd.toml
    systemctl reload taskd && wait_for 10 refuses_long && [ "$(main_pid taskd)" = "$pid" ] || return
    # A configuration that is wrong changes nothing.
    printf '[log]\nlevl = "debug"\n' >/etc/taskd/taskd.toml
    systemctl reload taskd && wait_for 10 grep -q 'the old one stays' /var/log/taskd/taskd.log && refuses_long &&
        [ "$(main_pid taskd)" = "$pid" ] && is_active taskd || return
    rm /etc/taskd/taskd.toml
    systemctl reload taskd
}
is_in_tokyo() { # a task added now
    taskctl remove zoned; taskctl add --name zoned --cron '0 0 * * *' -- true && taskctl show zoned --json | grep Asia/Tokyo
}
reload_reads_the_zone_of_the_machine() {
    ! is_in_tokyo || return
    cp -P /etc/localtime "$gates/localtime"
    ln -sf /usr/share/zoneinfo/Asia/Tokyo /etc/localtime
    systemctl reload taskd && wait_for 10 is_in_tokyo
    local found=$?
    cp -P --remove-destination "$gates/localtime" /etc/localtime && systemctl reload taskd
    return $found
}
beaten_since() { [ "$(systemctl show -P WatchdogTimestampMonotonic taskd)" -gt "$1" ]; }
watchdog_is_fed() {
    mkdir -p /run/systemd/system/taskd.service.d
    printf '[Service]\nWatchdogSec=3\n' >/run/systemd/system/taskd.service.d/watchdog.conf
    systemctl daemon-reload && systemctl restart taskd || return
    local beat
    for _ in 1 2; do
        beat=$(systemctl show -P WatchdogTimestampMonotonic taskd)
        wait_for 10 beaten_since "$beat" || return
    done
    [ "$(systemctl show -P NRestarts taskd)" = 0 ]
}
stalled_daemon_is_replaced() { # by the watchdog of the test before
    gated watched || return
    local before pid; before=$(lives watched); pid=$(main_pid taskd)
    [ "$pid" -gt 1 ] && kill -STOP "$pid" && wait_for 30 came_back taskd "$pid" && ends_well watched "$before" || return
    journalctl -b -u taskd --no-pager | grep 'Watchdog timeout' || return
    rm -r /run/systemd/system/taskd.service.d
    systemctl daemon-reload && systemctl restart taskd && taskctl status
}
restart_daemon_keeps_the_process_and_the_run() {
    gated anew || return
    local before pid runner restarts; before=$(lives anew); pid=$(main_pid taskd); runner=$(main_pid taskd-runner)
    restarts=$(systemctl show -P NRestarts taskd)
    taskctl restart-daemon | grep "pid $pid, 1 run goes on" || return
    # Ready again, and never down to the service manager.
    wait_for 30 is_active taskd && [ "$(systemctl show -P SubState taskd)" = running ] && [ "$(main_pid taskd)" = "$pid" ] &&
        [ "$(systemctl show -P NRestarts taskd)" = "$restarts" ] && wait_for 30 has_runner && [ "$(main_pid taskd-runner)" = "$runner" ] || return
    ends_well anew "$before"
}
# A package puts its files beside the old ones and renames them.
install_anew() { cp /usr/bin/taskd /usr/bin/taskd.new && mv /usr/bin/taskd.new /usr/bin/taskd; }
runs_as_installed() { [ "/proc/$(main_pid "$1")/exe" -ef /usr/bin/taskd ]; } # runs_as_installed UNIT
runners() { taskctl status --json | tr -d ' \n' | grep -oE '"draining":(true|false)' | cut -d: -f2 | tr '\n' ' '; }
are_runners() { [ "$(runners)" = "$1" ]; } # are_runners "WHETHER EACH DRAINS "
an_upgrade_replaces_an_idle_runner() {
    wait_for 30 are_runners 'false ' || return
    local pid; pid=$(main_pid taskd-runner)
    install_anew && taskctl restart-daemon && wait_for 30 came_back taskd-runner "$pid" && wait_for 30 are_runners 'false ' || return
    runs_as_installed taskd && runs_as_installed taskd-runner || return
    taskctl add --name fresh --manual --shell 'exit 5' || return
    taskctl run --wait fresh; [ $? = 5 ]
}
an_upgrade_lets_a_busy_runner_drain() {
    gated busy || return
    local before pid; before=$(lives busy); pid=$(main_pid taskd-runner)
    install_anew && systemctl restart taskd && wait_for 30 are_runners 'false true ' || { taskctl status; return 1; }
    is_active taskd-runner@2 && runs_as_installed taskd-runner@2 && [ "$(main_pid taskd-runner)" = "$pid" ] || return
    gated beside || return
    grep -q '/system-taskd.*runner.slice/taskd-runner@2.service' "/proc/$(cat $gates/beside.pid)/cgroup" || { cat "/proc/$(cat $gates/beside.pid)/cgroup"; return 1; }
    # However often the daemon is restarted meanwhile.
    systemctl restart taskd && taskctl restart-daemon && wait_for 30 are_runners 'false true ' && ends_well busy "$before" || return
    wait_for 30 are_runners 'false ' && wait_for 30 is_inactive taskd-runner || return
    open_gate beside; recorded beside
}
is_inactive() { [ "$(systemctl show -P ActiveState "$1")" = inactive ]; }
a_broken_upgrade_is_refused() {
    local pid; pid=$(main_pid taskd)
    cp /usr/bin/taskd "$gates/taskd" && cp /bin/true /usr/bin/taskd.new && mv /usr/bin/taskd.new /usr/bin/taskd || return
    taskctl restart-daemon 2>&1 | grep 'no taskd'
    local found=$?
    install -m 755 "$gates/taskd" /usr/bin/taskd.new && mv /usr/bin/taskd.new /usr/bin/taskd
    [ $found = 0 ] && is_active taskd && [ "$(main_pid taskd)" = "$pid" ]
}
the_first_unit_takes_over_again() { # from that of the tests before, with the next upgrade
    wait_for 30 are_runners 'false ' && install_anew && taskctl restart-daemon && wait_for 30 is_inactive taskd-runner@2 &&
        wait_for 30 is_active taskd-runner && runs_as_installed taskd-runner
}
files_are_where_they_belong() {
    [ -S /run/taskd/taskd.sock ] && [ -s /var/log/taskd/taskd.log ] && [ -S /var/lib/taskd/runner.sock ] || return
    [ "$(stat -c %a /var/lib/taskd)" = 700 ] && [ "$(stat -c %a /run/taskd)" = 700 ] && [ "$(stat -c %a /var/log/taskd/taskd.log)" = 600 ]
}
runs_are_told_in_the_journal() {
    journalctl -b -u taskd -o json --no-pager | grep '"MESSAGE":"run finished' | grep '"PRIORITY":"6"'
}
journal_has_priorities() { wait_for 10 runs_are_told_in_the_journal; }

# ---- ordinary users: alice has what root installed, bob follows the README

new_user() { useradd -m -s /bin/bash "$1" && loginctl enable-linger "$1" && wait_for 30 is_active "user@$(id -u "$1").service"; }
user_main_pid() { as "$1" systemctl --user show -P MainPID "$2"; }
user_answers() { # user_answers USER: it is the daemon of her unit that does
    local pid; pid=$(user_main_pid "$1" taskd) && [ "$pid" -gt 1 ] && [ "$(as "$1" taskctl status --json | field pid)" = "$pid" ]
}
user_units_verify() {
    local said
    said=$(as alice systemd-analyze --user verify /usr/lib/systemd/user/taskd{,-runner}.service 2>&1) && [ -z "$said" ] || { echo "$said"; return 1; }
}
a_user_has_a_daemon_of_her_own() {
    as alice systemctl --user start taskd && user_answers alice || return
    as alice taskctl status | grep 'in a control group of its own' || return
    as alice taskctl add --name hers --manual -- id -u && as alice taskctl run --wait hers || return
    [ "$(as alice taskctl logs hers)" = "$(id -u alice)" ] || return
    # Not the system's tasks, nor the system hers.
    ! as alice taskctl list --json | grep -q restarted && ! taskctl list --json | grep -q hers
}
a_users_run_survives_a_restart() {
    as alice taskctl add --name long --manual --shell "$(gate long)" && as alice taskctl run long &&
        wait_for 30 test -e "$gates/long.pid" || return
    local before; before=$(lives long)
    as alice systemctl --user restart taskd && user_answers alice && [ "$(lives long)" = "$before" ] || return
    open_gate long; wait_for 30 hers_is_recorded
}
a_users_upgrade_lets_a_busy_runner_drain() {
    as alice taskctl edit long --shell "$(gate more)" && as alice taskctl run long && wait_for 30 test -e "$gates/more.pid" || return
    local before; before=$(lives more)
    install_anew && as alice taskctl restart-daemon && wait_for 30 hers_are 2 && [ "$(lives more)" = "$before" ] &&
        [ "$(user_main_pid alice taskd-runner@2)" -gt 1 ] || return
    open_gate more; wait_for 30 hers_are 1 && hers_is_recorded
}
hers_are() { [ "$(as alice taskctl status --json | grep -o '"draining"' | wc -l)" = "$1" ]; } # hers_are HOW_MANY: her runners
hers_is_recorded() { [ "$(as alice taskctl runs long --limit 1 --json | field exit_code)" = 7 ]; }

# Programs where `cargo install` puts them and on bob's path, as rustup sees to; and a copy of the repository.
bob_has_installed() {
    install -d -o bob -g bob ~bob/.cargo ~bob/.cargo/bin &&
        install -o bob -g bob -m 755 "$repo"/target/release/* ~bob/.cargo/bin/ &&
        cp -r "$repo" ~bob/taskd && chown -R bob: ~bob/taskd && echo 'PATH=$HOME/.cargo/bin:$PATH' >>~bob/.profile &&
        [ "$(as bob which taskctl)" = ~bob/.cargo/bin/taskctl ]
}
started_by_hand_is_not_disturbed() {
    bob_has_installed && as bob taskctl start && as bob taskctl add --name kept --manual -- true || return
    local pid; pid=$(as bob taskctl status --json | field pid)
    ! as bob systemctl --user start taskd || return
    as bob systemctl --user stop taskd taskd-runner
    [ "$(as bob taskctl status --json | field pid)" = "$pid" ] && as bob taskctl stop || return
    as bob systemctl --user reset-failed taskd taskd-runner
    wait_for 30 ended "$pid"
}
ended() { [ ! -e "/proc/$1" ]; }
readme_installs_for_a_user() {
    local script; script=$(block systemd-user) || return
    as bob bash -c 'cd ~/taskd && exec bash -ex "$0"' "$script" && user_answers bob || return
    local unit
    for unit in taskd taskd-runner; do
        [ "$(readlink "/proc/$(user_main_pid bob $unit)/exe")" = ~bob/.cargo/bin/taskd ] || return
    done
    as bob taskctl run --wait kept && as bob systemctl --user is-enabled taskd
}

# ---- a reboot

comes_back_with_the_machine() {
    wait_for 30 is_active taskd && taskctl status && taskctl show own >/dev/null && wait_for 30 has_runner
}
comes_back_for_a_user() {
    wait_for 30 user_answers bob && as bob taskctl show kept
}
a_run_cut_off_by_the_reboot_has_an_outcome() {
    wait_for 30 is cut state finished && [ "$(newest cut outcome)" != null ] || { taskctl runs cut --json; return 1; }
    echo "$(newest cut outcome)"
}

mkdir -p -m 1777 "$gates"
cd /

if [ "${WITH_SYSTEMD_BOOT:-1}" != 1 ]; then
    read -r passed failed <"$kept/counts"
    prove comes_back_with_the_machine
    prove a_run_cut_off_by_the_reboot_has_an_outcome
    prove comes_back_for_a_user
    finish
fi

prove readme_installs_for_the_machine
prove units_verify
prove start_returns_when_it_serves
prove files_are_where_they_belong
prove runner_is_a_unit_of_its_own
prove runs_have_groups_that_count
prove a_run_learns_nothing_of_the_service
prove restart_leaves_a_run_alone
prove stop_and_start_leave_a_run_alone
prove killed_daemon_comes_back
prove killed_runner_comes_back_and_its_run_is_unknown
prove groups_come_back_with_a_killed_runner
prove reload_takes_effect_and_keeps_the_process
prove reload_reads_the_zone_of_the_machine
prove restart_daemon_keeps_the_process_and_the_run
prove an_upgrade_replaces_an_idle_runner
prove an_upgrade_lets_a_busy_runner_drain
prove the_first_unit_takes_over_again
prove a_broken_upgrade_is_refused
prove watchdog_is_fed
prove stalled_daemon_is_replaced
prove journal_has_priorities

install -m 644 "$repo"/systemd/user/*.service /usr/lib/systemd/user/
for user in alice bob; do new_user $user || { echo "FAIL no manager for the user $user"; failed=$((failed + 1)); finish; }; done
prove user_units_verify
prove a_user_has_a_daemon_of_her_own
prove a_users_run_survives_a_restart
prove a_users_upgrade_lets_a_busy_runner_drain
prove started_by_hand_is_not_disturbed
prove readme_installs_for_a_user

said=$(gated cut 2>&1) || { echo "FAIL no run for the reboot: $said"; failed=$((failed + 1)); finish; }
mkdir -p "$kept" && echo "$passed $failed" >"$kept/counts" && sync
systemctl reboot
wait_for 60 false
