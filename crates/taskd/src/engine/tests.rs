use super::testing::Bench;
use super::*;

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
