#[test]
fn dbg() {
    use polyglance::image::*;
    let d = std::fs::read(crate::support::fixture("models/fixed14/expected.safetensors")).unwrap();
    let st = safetensors::SafeTensors::deserialize(&d).unwrap();
    let want: Vec<f32> = bytemuck::pod_collect_to_vec(st.tensor("pixel_values.0").unwrap().data());
    let img = decode(&std::fs::read(crate::support::fixture("images_for_models/00_tiny_9x5.png")).unwrap(), &polyglance::limits::Limits::current()).unwrap();
    let c = crate::support::checkpoint("fixed14");
    let p = preprocess(&img.pixels, &c.config().vision, None, Resampling::Hf).unwrap();
    println!("{} {}", want.len(), p.values.len());
    let mut n = 0;
    for (i, (a, b)) in p.values.iter().zip(&want).enumerate() { if a != b { n += 1; if n < 10 { println!("{i} {a} {b}"); } } }
    println!("diff {n}");
}
