use super::*;

fn connection() -> (Connection, UnixStream, watch::Sender<bool>) {
    let (stream, peer) = UnixStream::pair().expect("a pair");
    let (stopper, stop) = watch::channel(false);
    let connection = Connection {
        stream,
        stop,
        frames: FrameReader::new(),
        out: Vec::new(),
        import: Import::new(&std::sync::Arc::default()),
    };
    (connection, peer, stopper)
}

#[tokio::test(start_paused = true)]
async fn a_frame_is_whole_in_time_however_it_trickles_in() {
    let (mut connection, mut peer, _stopper) = connection();
    let trickle = async {
        peer.write_all(&100_u32.to_le_bytes()).await.expect("it is read");
        loop {
            tokio::time::sleep(FRAME_WITHIN * 2 / 3).await;
            if peer.write_all(&[1]).await.is_err() {
                break;
            }
        }
    };
    let begun = Instant::from_std(clock::monotonic());
    tokio::select! {
        frame = connection.frame() => assert!(matches!(frame, Err(Ended::HalfAFrame)), "{frame:?}"),
        () = trickle => unreachable!("the peer goes on for ever"),
    }
    assert!(
        begun.elapsed() <= FRAME_WITHIN + Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_connection_may_be_silent_between_its_requests() {
    let (mut connection, mut peer, _stopper) = connection();
    let later = async {
        tokio::time::sleep(FRAME_WITHIN * 10).await;
        peer.write_all(&[1, 0, 0, 0, 7]).await.expect("it is read");
        std::future::pending::<()>().await;
    };
    tokio::select! {
        frame = connection.frame() => assert_eq!(frame.expect("no refusal"), Some(vec![7])),
        () = later => unreachable!("the peer stays"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_ends_with_the_daemon_and_what_was_asked_is_answered_first() {
    let (mut connection, mut peer, stopper) = connection();
    peer.write_all(&[1, 0, 0, 0, 7]).await.expect("there is room");
    stopper.send_replace(true);
    assert_eq!(connection.frame().await.expect("no refusal"), Some(vec![7]));
    assert_eq!(connection.frame().await.expect("no refusal"), None);
}
