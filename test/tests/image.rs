//! The image job (thesis, section 3.2): small pictures, real workers, and what goes wrong with either.

// A story that cannot go on fails at once, where it stands.
#![allow(clippy::unwrap_used)]

use jpeg_encoder::{ColorType, Encoder};
use sigma_test::{Machine, Tenant, eventually, host, story};
use sigmaos::{Cause, Pid, Status};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;

const IN: &str = "/ux/~local/in";
const OUT: &str = "/ux/~local/out";

/// A picture whose pixels differ, so that it is more than its headers.
fn picture(width: u16, height: u16) -> Vec<u8> {
    let pixels: Vec<u8> =
        (0..usize::from(width) * usize::from(height) * 3).map(|at| (at * at / 7) as u8).collect();
    let mut bytes = Vec::new();
    Encoder::new(&mut bytes, 90).encode(&pixels, width, height, ColorType::Rgb).expect("a picture");
    bytes
}

/// Width and height, after all of it was decoded.
fn size(jpeg: &[u8]) -> (usize, usize) {
    let mut decoder = JpegDecoder::new(ZCursor::new(jpeg));
    decoder.decode().expect("the result is a picture");
    decoder.dimensions().expect("a picture has a size")
}

async fn realm(machine: &Machine) -> Tenant {
    let tenant = machine.realm("a").await;
    tenant.upload("imgresize-worker").await;
    tenant.sigma.create_dir_all(IN).await.unwrap();
    tenant
}

/// The workers of a job, whether they have ended or not.
async fn workers(tenant: &Tenant, input: &str) -> Vec<Option<Status>> {
    let procs = tenant.sigma.procs(true).await.unwrap();
    let of_input = procs.into_iter().filter(|proc| {
        let spec = proc.spec.as_ref().unwrap();
        spec.binary == "/bin/imgresize-worker" && spec.args[0] == input
    });
    of_input.map(|proc| proc.status.map(|status| status.try_into().unwrap())).collect()
}

#[test]
fn each_picture_is_resized_and_progress_is_told() {
    story(async |machine| {
        let tenant = realm(machine).await;
        tenant.sigma.put_file(&format!("{IN}/wide.jpg"), picture(64, 48)).await.unwrap();
        tenant.sigma.put_file(&format!("{IN}/tall.jpg"), picture(30, 60)).await.unwrap();
        let line =
            format!("imgresize --width 16 --resizes 2 --tasks 4 --output {OUT} {IN}/wide.jpg {IN}/tall.jpg");
        let job = tenant.spawn_followed(&line).await;
        let steps = tenant.stdout(job).await;
        assert_eq!(steps, "progress 1 4\nprogress 2 4\nprogress 3 4\nprogress 4 4\n");
        assert_eq!(tenant.wait_exit(job).await.to_string(), "Ok: 4 pictures were resized");
        let results = [
            ("wide-0.jpg", (16, 12)),
            ("tall-1.jpg", (16, 32)),
            ("wide-2.jpg", (16, 12)),
            ("tall-3.jpg", (16, 32)),
        ];
        for (name, expect) in results {
            let result = tenant.sigma.get_file(&format!("{OUT}/{name}")).await.unwrap();
            assert_eq!(size(&result), expect, "{name}");
        }
        assert_eq!(tenant.sigma.read_dir(OUT).await.unwrap().len(), 4, "nothing else is there");
    });
}

#[test]
fn a_picture_cut_in_half_is_named_is_not_tried_again_and_harms_no_other() {
    story(async |machine| {
        let tenant = realm(machine).await;
        let whole = picture(64, 48);
        let (good, cut) = (format!("{IN}/good.jpg"), format!("{IN}/cut.jpg"));
        tenant.sigma.put_file(&good, whole.clone()).await.unwrap();
        tenant.sigma.put_file(&cut, whole[..whole.len() / 2].to_vec()).await.unwrap();
        let line = format!("imgresize --width 16 --output {OUT} {cut} {good} {IN}/missing.jpg");
        let job = tenant.spawn(&line).await;
        let status = tenant.wait_exit(job).await;
        let Status::Err { message, .. } = status else { panic!("{status}") };
        assert!(message.starts_with("2 of 3 pictures could not be resized"), "{message}");
        let why = tenant.stderr(job).await;
        for word in [format!("{cut}: "), format!("{IN}/missing.jpg: "), "cannot be resized".into()] {
            assert!(why.contains(&word), "{why:?} does not say {word:?}");
        }
        assert_eq!(workers(&tenant, &cut).await.len(), 1, "it would be cut the next time, too");
        assert_eq!(size(&tenant.sigma.get_file(&format!("{OUT}/good.jpg")).await.unwrap()), (16, 12));
        assert!(tenant.sigma.stat(&format!("{OUT}/cut.jpg")).await.is_err(), "no half of a result");
    });
}

/// A job of one picture that takes a while, and the command line of its worker.
async fn long_job(tenant: &Tenant) -> (Pid, String) {
    tenant.sigma.put_file(&format!("{IN}/large.jpg"), picture(1600, 1200)).await.unwrap();
    let line = format!("imgresize --width 400 --resizes 200 --output {OUT} {IN}/large.jpg");
    let job = tenant.start(&line).await;
    (job, format!("imgresize-worker {IN}/large.jpg {OUT}/large.jpg --width 400 --resizes 200"))
}

/// Kills the worker, as a machine's trouble would, and waits until its end is known.
async fn kill_worker(machine: &Machine, tenant: &Tenant, line: &str) {
    let sigmad = machine.sigmad().await;
    let ended = || async { workers(tenant, &format!("{IN}/large.jpg")).await.iter().flatten().count() };
    let before = ended().await;
    host::kill(eventually("a worker runs", async || host::find(sigmad, line)).await);
    eventually("its end is known", async || (ended().await > before).then_some(())).await;
}

#[test]
fn a_worker_that_is_killed_is_begun_again() {
    story(async |machine| {
        let tenant = realm(machine).await;
        let (job, line) = long_job(&tenant).await;
        kill_worker(machine, &tenant, &line).await;
        assert_eq!(tenant.wait_exit(job).await.to_string(), "Ok: 1 pictures were resized");
        let ends = workers(&tenant, &format!("{IN}/large.jpg")).await;
        assert_eq!(ends.len(), 2);
        assert_eq!(ends[0], Some(Status::crashed(Cause::Signal(9))));
        assert!(ends[1].as_ref().is_some_and(Status::is_ok), "{ends:?}");
        assert_eq!(size(&tenant.sigma.get_file(&format!("{OUT}/large.jpg")).await.unwrap()), (400, 300));
    });
}

#[test]
fn a_worker_that_keeps_dying_is_given_up_after_the_third() {
    story(async |machine| {
        let tenant = realm(machine).await;
        let (job, line) = long_job(&tenant).await;
        for _ in 0..3 {
            kill_worker(machine, &tenant, &line).await;
        }
        let status = tenant.wait_exit(job).await.to_string();
        assert!(status.contains("large.jpg") && status.contains("crashed 3 times"), "{status}");
        assert_eq!(workers(&tenant, &format!("{IN}/large.jpg")).await.len(), 3);
    });
}

#[test]
fn a_job_that_is_killed_takes_its_workers_along() {
    story(async |machine| {
        let tenant = realm(machine).await;
        let (job, line) = long_job(&tenant).await;
        let sigmad = machine.sigmad().await;
        let worker = eventually("a worker runs", async || host::find(sigmad, &line)).await;
        tenant.kill(job).await;
        let status = tenant.wait_exit(job).await.to_string();
        assert!(status.contains("0 of 1 pictures were resized"), "{status}");
        eventually("its worker ends", async || (!host::is_alive(worker)).then_some(())).await;
    });
}
