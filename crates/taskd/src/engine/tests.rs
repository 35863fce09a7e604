use std::sync::mpsc as std_mpsc;

use taskd_core::task::Owner;

use super::testing::{Bench, FakeRunner, hang};
use super::*;
use crate::testing::manual;

#[tokio::test]
async fn a_reload_says_ready_only_of_a_daemon_that_is() {
    let mut bench = Bench::new(false);
    let reload = |bench: &mut Bench| bench.driver.open(Mail::Reload(Box::default()));
    reload(&mut bench);
    assert_eq!(bench.told(), [""; 0], "there is no runner yet");
    bench.driver.is_ready();
    assert_eq!(bench.told(), ["READY=1"]);
    reload(&mut bench);
    assert_eq!(bench.told(), ["RELOADING=1", "READY=1"]);
    bench.driver.open(Mail::Stop { at_once: false });
    assert_eq!(bench.told(), ["STOPPING=1"]);
    reload(&mut bench);
    bench.driver.is_ready();
    assert_eq!(bench.told(), [""; 0], "it stops");
}

#[tokio::test(start_paused = true)]
async fn an_engine_whose_store_is_gone_ends() {
    let mut bench = Bench::new(false);
    bench.write_a_fact();
    bench.store.close().expect("in good order");
    let mut driver = bench.driver;
    driver
        .records
        .write(Ticket(2), Vec::new(), taskd_core::effect::Weight::Fact);
    let ended = tokio::time::timeout(Duration::from_secs(60), driver.run()).await;
    let error = ended.expect("it does not go on trying").expect_err("it is a failure");
    assert!(error.to_string().contains("closed"), "{error}");
}

#[tokio::test]
async fn what_was_promised_before_a_stop_is_started_before_the_runner_is_told_to_end() {
    let bench = Bench::new(true);
    let runner = tokio::spawn(FakeRunner::listen(&bench).serve());
    let Bench {
        driver,
        engine,
        store,
        told: _told,
        dir: _dir,
    } = bench;
    let asked = async {
        let add = |_: &_, _| {
            let definitions = vec![manual("a")];
            Ok(Command::Add {
                owner: Owner(7),
                definitions,
            })
        };
        let added = engine.change(add, |_, reply| match reply {
            Reply::Added(ids) => ids.clone(),
            other => panic!("{other:?}"),
        });
        let ids = added.await.expect("it is accepted");
        let attached = || engine.look(|_, condition| condition.runner.is_some());
        while !attached().await.expect("it is there") {}
        // The promise is on its way to the store when the stop comes.
        let hung = hang(&store);
        let run = engine.change(
            move |_, _| {
                Ok(Command::Run {
                    ids: ids.clone(),
                    overrides: None,
                })
            },
            |_, _| (),
        );
        let stop = async {
            engine.stop(false).await;
            let stopping = engine.look(|_, condition| condition.stopping).await;
            assert_eq!(stopping, Ok(true));
            drop(hung);
        };
        let (promised, ()) = tokio::join!(run, stop);
        promised.expect("it was accepted before the stop");
    };
    let (ended, ()) = tokio::join!(driver.run(), asked);
    ended.expect("in good order");
    let heard = runner.await.expect("no panic");
    assert!(
        matches!(heard[..], [ToRunner::Start(_), ToRunner::Shutdown { .. }]),
        "{heard:?}"
    );
}

#[test]
fn the_watchdog_is_fed_by_the_loop_that_does_the_work() {
    let run_here = || tokio::runtime::Builder::new_current_thread().enable_all().build();
    let (give, take) = std_mpsc::channel();
    let loops = std::thread::spawn(move || {
        run_here().expect("a runtime").block_on(async {
            let bench = Bench::watched(false, Some(Duration::from_millis(20)));
            give.send((bench.engine, bench.told)).expect("the test waits");
            bench.driver.run().await
        })
    });
    let (engine, told) = take.recv().expect("it starts");
    told.set_nonblocking(false).expect("a socket");
    let heard = |within: Duration| {
        told.set_read_timeout(Some(within)).expect("a socket");
        told.recv(&mut [0; 64]).is_ok()
    };
    let long = Duration::from_secs(30);
    assert!(heard(long) && heard(long), "it does not beat");
    let (begin, begun) = std_mpsc::channel();
    let (release, released) = std_mpsc::channel::<()>();
    let blocked = engine.clone();
    let blocker = std::thread::spawn(move || {
        let look = blocked.look(move |_, _| {
            begin.send(()).expect("the test waits");
            let _ = released.recv();
        });
        run_here().expect("a runtime").block_on(look)
    });
    begun.recv().expect("it looks");
    // What was said before.
    told.set_nonblocking(true).expect("a socket");
    while told.recv(&mut [0; 64]).is_ok() {}
    told.set_nonblocking(false).expect("a socket");
    assert!(!heard(Duration::from_millis(300)), "it beats although it does nothing");
    drop(release);
    assert!(heard(long), "it does not beat any more");
    blocker.join().expect("no panic").expect("it looked");
    run_here().expect("a runtime").block_on(engine.stop(false));
    loops.join().expect("no panic").expect("in good order");
}
