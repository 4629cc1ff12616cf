//! What is wrong with the input is said by name, and nothing half-done is left behind.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::formats::Tensors;
use super::run::{finished, images, model, polyglance};

fn classify(picture: impl AsRef<Path>) -> super::run::Polyglance {
    let mut command = polyglance(["classify", "--device", "cpu", "--labels", "a,b", "--model"]);
    command.arg(model("naflex")).arg(picture.as_ref());
    command
}

fn embed(picture: impl AsRef<Path>, output: &Path) -> super::run::Polyglance {
    let mut command = polyglance(["embed", "--device", "cpu", "--max-num-patches", "16", "--model"]);
    command.arg(model("naflex")).arg("--image").arg(picture.as_ref()).arg("--output").arg(output);
    command
}

/// Names in a folder, hidden ones included.
fn listing(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn wrong_command_lines_exit_with_2() {
    let picture = images().join("00_tiny_9x5.png").display().to_string();
    let naflex = model("naflex").display().to_string();
    let fixed = model("fixed14").display().to_string();
    let labels = ["--labels", "a"];
    let cases: [(&[&str], &str); 15] = [
        (&["nonsense"], "unrecognized"),
        (&["classify", &picture, "--model", &naflex], "--labels"),
        (&["classify", &picture, labels[0], labels[1], "--labels-from", "x", "--model", &naflex], "cannot be used with"),
        (&["classify", &picture, "--labels", "a", "--top", "0", "--model", &naflex], "--top"),
        (&["classify", &picture, "--labels", "a", "--top", "1", "--json", "--model", &naflex], "cannot be used with"),
        (&["classify", &picture, "--labels", "a,,b", "--model", &naflex], "empty"),
        (&["classify", &picture, "--labels", "\"a,b", "--model", &naflex], "not closed"),
        (&["classify", &picture, "--labels", "a", "--template", "no slot", "--model", &naflex], "{}"),
        (&["classify", &picture, "--labels", "a", "--precision", "f64", "--model", &naflex], "f16"),
        (&["classify", &picture, "--labels", "a", "--max-num-patches", "64", "--model", &fixed], "NaFlex"),
        (&["classify", &picture, "--labels", "a", "--max-num-patches", "0", "--model", &naflex], "1 to 4096"),
        (&["embed", "--text", "a", "--max-num-patches", "4097", "--output", "out.npy", "--model", &naflex], "1 to 4096"),
        (&["embed", "--text", "a", "--output", "out.csv", "--model", &naflex], ".parquet"),
        (&["embed", "--text", "a", "--image", &picture, "--output", "out.npy", "--model", &naflex], "one array"),
        (&["embed", "--image", &picture, "--with", "hidden", "--output", "out.jsonl", "--model", &naflex], ".safetensors"),
    ];
    for (args, says) in cases {
        let run = polyglance(args).fails(2);
        assert!(run.stderr.contains(says), "{args:?} does not say {says:?}: {}", run.stderr);
    }
}

#[test]
fn a_missing_model_names_the_choices() {
    // What is written lasts, so that no model is chosen by default.
    let run = polyglance(["embed", "--text", "a", "--output", "out.npy"]).fails(2);
    for words in ["--model", "config.json", "google/siglip2-base-patch16-naflex", "google/siglip2-giant-opt-patch16-384"] {
        assert!(run.stderr.contains(words), "{words:?} is missing: {}", run.stderr);
    }
    let run = polyglance(["classify", "--labels", "a", "--model", "no-such-folder"]).arg(images()).fails(1);
    assert!(run.stderr.contains("no-such-folder") && run.stderr.contains("google/siglip2-base-patch16-naflex"), "{}", run.stderr);
    let empty = tempfile::tempdir().unwrap();
    let run = polyglance(["classify", "--labels", "a"]).arg(images()).arg("--model").arg(empty.path()).fails(1);
    assert!(run.stderr.contains(&empty.path().display().to_string()), "{}", run.stderr);
}

#[test]
fn an_unknown_device_is_an_error_that_lists_the_known() {
    let run = polyglance(["classify", "--labels", "a", "--device", "no-such-gpu", "--model"]).arg(model("naflex")).arg(images()).fails(1);
    assert!(run.stderr.contains("no-such-gpu") || run.stderr.contains("no GPU backend"), "{}", run.stderr);
}

#[test]
fn a_named_picture_must_be_readable() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let whole = fs::read(images().join("04_disc_224x224.png")).unwrap();
    let cases = [
        (folder.path().join("missing.png"), "No such file"),
        (write("empty.jpg", b""), "empty"),
        (write("cut.png", &whole[..whole.len() / 2]), "damaged"),
        (write("photo.heic", b"\0\0\0\x18ftypheic\0\0\0\0"), "heif-convert"),
        (write("notes.txt", b"hello"), "JPEG"),
        (folder.path().join("*.webp"), "no file matches"),
    ];
    for (path, says) in cases {
        let run = classify(&path).fails(1);
        let name = path.display().to_string();
        assert!(run.stderr.contains(&name) && run.stderr.contains(says), "{name} does not say {says:?}: {}", run.stderr);
        assert_eq!(run.stdout, "");
    }
    let run = classify(write_folder(folder.path(), "texts only", &["a.txt"])).fails(1);
    assert!(run.stderr.contains("texts only") && run.stderr.contains("1 .txt"), "{}", run.stderr);
}

fn write_folder(parent: &Path, name: &str, files: &[&str]) -> std::path::PathBuf {
    let folder = parent.join(name);
    fs::create_dir(&folder).unwrap();
    for file in files {
        fs::write(folder.join(file), "x").unwrap();
    }
    folder
}

#[test]
fn a_folder_is_sorted_and_what_cannot_be_read_is_listed() {
    let folder = tempfile::tempdir().unwrap();
    let photos = write_folder(folder.path(), "photos", &["IMG_1.HEIC", "IMG_2.heic", "raw.CR2", "notes.txt", "broken.jpg"]);
    fs::create_dir(photos.join("album")).unwrap();
    let icon = images().join("01_icon_16x16.png");
    for name in ["b.png", "a.PNG", "album/z.png", "no_extension", "c[1].png"] {
        fs::copy(&icon, photos.join(name)).unwrap();
    }
    let output = folder.path().join("out.safetensors");
    let run = embed(&photos, &output).fails(3);
    let tensors = Tensors::read(&output);
    let names: Vec<String> = serde_json::from_str(&tensors.metadata("images")).unwrap();
    let expected = ["a.PNG", "album/z.png", "b.png", "c[1].png", "no_extension"].map(|name| photos.join(name).display().to_string());
    assert_eq!(names, expected);
    assert_eq!(tensors.shape("image_embeds")[0], names.len());
    for words in ["2 .heic", "heif-convert", "1 .cr2", "notes.txt", "skipped", "broken.jpg", "left out 3 pictures"] {
        assert!(run.stderr.contains(words), "{words:?} is missing: {}", run.stderr);
    }
    // A name that looks like a pattern is the file of that name, and a pattern finds files in one folder.
    embed(photos.join("c[1].png"), &output).succeeds();
    assert_eq!(Tensors::read(&output).shape("image_embeds")[0], 1);
    embed(photos.join("?.png"), &output).succeeds();
    assert_eq!(Tensors::read(&output).metadata("images"), format!("[{:?}]", expected[2]));
    embed(photos.join("**/*.png"), &output).succeeds();
    assert_eq!(Tensors::read(&output).shape("image_embeds")[0], 3);
}

#[cfg(unix)]
#[test]
fn links_back_to_a_folder_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let photos = write_folder(folder.path(), "photos", &[]);
    fs::copy(images().join("01_icon_16x16.png"), photos.join("a.png")).unwrap();
    std::os::unix::fs::symlink(&photos, photos.join("again")).unwrap();
    std::os::unix::fs::symlink(folder.path(), photos.join("above")).unwrap();
    let output = folder.path().join("out.safetensors");
    let run = embed(&photos, &output).fails(3);
    assert!(run.stderr.contains("again: a symbolic link back") && run.stderr.contains("above: a symbolic link back"), "{}", run.stderr);
    assert_eq!(Tensors::read(&output).shape("image_embeds")[0], 1);
}

#[cfg(unix)]
#[test]
fn a_full_disk_names_the_file_and_keeps_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.safetensors");
    fs::write(&output, "old").unwrap();
    // One block of 512 bytes is less than any file of embeddings.
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -f 1; exec \"$@\"", "sh"]);
    let mut embed = embed(images().join("01_icon_16x16.png"), &output);
    limited.arg(embed.command().get_program()).args(embed.command().get_args());
    let run = finished(&limited.output().unwrap(), 1);
    assert!(run.stderr.contains("cannot write") && run.stderr.contains("out.safetensors"), "{}", run.stderr);
    assert_eq!(fs::read_to_string(&output).unwrap(), "old");
    assert_eq!(listing(folder.path()), ["out.safetensors"]);
}

#[test]
fn a_folder_that_cannot_be_written_is_known_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let run = embed(images(), &folder.path().join("missing/out.parquet")).fails(1);
    assert!(run.stderr.contains("missing/out.parquet") && !run.stderr.contains("running on"), "{}", run.stderr);
    let run = polyglance(["embed", "--text", "a", "--output"]).arg(folder.path().join("x.npy")).arg("-m").arg("nowhere").fails(1);
    assert!(run.stderr.contains("nowhere"), "{}", run.stderr);
    assert!(listing(folder.path()).is_empty());
}

#[cfg(unix)]
#[test]
fn ctrl_c_leaves_nothing() {
    use std::io::{BufRead, BufReader};

    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.safetensors");
    let panorama = images().join("08_panorama_4000x300.png");
    let mut embed = embed(&panorama, &output);
    // More than any machine decodes before the signal arrives, and few enough for the system's limit on arguments under a long path.
    embed.args((0..2_000).map(|_| &panorama).flat_map(|path| ["--image".as_ref(), path.as_os_str()]));
    let mut child = embed.command().stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().starts_with("running on")));
    assert_eq!(listing(folder.path()).len(), 1, "the temporary file is there");
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest:?}");
    assert!(rest.iter().any(|line| line.contains("no file was written")), "{rest:?}");
    assert!(listing(folder.path()).is_empty());
}

#[cfg(unix)]
#[test]
fn a_reader_that_stops_is_no_failure() {
    let mut classify = classify(images());
    let mut child = classify.command().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    finished(&child.wait_with_output().unwrap(), 0);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_standard_output_is_a_failure() {
    let mut classify = classify(images());
    let run = finished(&classify.command().stdout(fs::File::create("/dev/full").unwrap()).output().unwrap(), 1);
    assert!(run.stderr.contains("standard output"), "{}", run.stderr);
}
