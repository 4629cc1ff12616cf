//! A short run beside torch's: model, loss, gradients, optimiser and schedule together.

use polyglance_trainer::losses::{StepOptions, loss_and_gradients};
use polyglance_trainer::optim::{Decay, Groups, Optimizer, OptimizerRecipe, Schedule, visit_flat};

use super::support::{Numbers, flex, model};

/// torch's run (`oracle/gradients.py`), in f64 and with a dense Adam for the token table too.
#[test]
fn two_hundred_steps_are_those_of_torch() {
    let run = Numbers::open("steps/run.safetensors");
    let (expected, multiplier) = (run.f32s("losses"), run.f32s("multiplier"));
    let batches: Vec<_> = (0..4).map(|k| run.batch(&format!(".{k}"))).collect();
    let mut model = model("steps", &flex());
    let recipe = OptimizerRecipe { learning_rate: 2e-3, weight_decay: 2e-4, beta2: 0.95, ..Default::default() };
    let schedule = Schedule { steps: 200, warmup: 20, decay: Decay::Cosine, cooldown: 0 };
    let mut names = Vec::new();
    visit_flat(&model, |name, _| names.push(name.to_owned()));
    let mut optimizer = Optimizer::new(&recipe, schedule, Groups::new(&recipe, names.iter().map(String::as_str)).unwrap());
    let mut worst = 0f32;
    for (step, (&expected, &multiplier)) in expected.iter().zip(&multiplier).enumerate() {
        assert!((schedule.at(step as u64) - f64::from(multiplier)).abs() < 1e-6);
        let (images, texts) = &batches[step % batches.len()];
        optimizer.settle(&mut model, texts.iter().flat_map(|text| text.ids.iter().copied()), step as u64);
        let mut result = loss_and_gradients(&model, images, texts, StepOptions::default()).unwrap();
        worst = worst.max((result.loss - expected).abs());
        assert!(worst <= 1e-3, "step {step}: a loss of {} for {expected}", result.loss);
        let norm = optimizer.gradient_norm(&mut result.gradients).unwrap();
        optimizer.step(&mut model, result.gradients, norm, step as u64);
    }
    println!(
        "the losses of {} steps, from {} to {}, are within {worst:.1e} of torch's",
        expected.len(),
        expected[0],
        expected[expected.len() - 1]
    );
}
