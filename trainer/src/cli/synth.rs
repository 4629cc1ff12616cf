//! `synth`: emoji world's shards, samples, palette, tokenizer and contact sheets.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};
use polyglance_trainer::synth::{
    Annotations, EmojiFont, Generator, Split, SynthRecipe, World, contact_sheet, write_palette, write_samples, write_tokenizer,
};

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    product: Product,
}

#[derive(Subcommand)]
enum Product {
    /// Renders the training, validation, test, retrieval and zero-shot sets as tar shards.
    Shards {
        #[command(flatten)]
        sources: Sources,
        /// Pictures that training never shows: a folder of PNG files named by code point, as Twemoji's and OpenMoji's.
        #[arg(long, value_name = "DIR")]
        second_font: Option<PathBuf>,
        /// Folder to create.
        #[arg(long, value_name = "DIR")]
        output: PathBuf,
    },
    /// Writes a dozen small scenes with their labels.
    Samples {
        #[command(flatten)]
        sources: Sources,
        /// Folder to write into.
        #[arg(long, value_name = "DIR")]
        output: PathBuf,
    },
    /// Writes single emoji on one sheet, with their names: what the app makes scenes of.
    Palette {
        #[command(flatten)]
        sources: Sources,
        /// Folder to write into.
        #[arg(long, value_name = "DIR")]
        output: PathBuf,
    },
    /// Trains a tokenizer on the captions of the recipe's training scenes.
    Tokenizer {
        #[command(flatten)]
        sources: Sources,
        /// Folder to write tokenizer.json into.
        #[arg(long, value_name = "DIR")]
        output: PathBuf,
    },
    /// Draws scenes with boxes and captions on one PNG, to be looked at.
    Sheet {
        #[command(flatten)]
        sources: Sources,
        /// Look at the test split instead of the training split.
        #[arg(long)]
        test: bool,
        /// Number of the first scene.
        #[arg(long, default_value_t = 0)]
        first: usize,
        /// PNG to write.
        #[arg(long, value_name = "FILE")]
        output: PathBuf,
    },
}

/// What scenes are made from.
#[derive(Args)]
struct Sources {
    /// Recipe, a TOML file; without it every value is the default.
    recipe: Option<PathBuf>,
    /// Changes a value of the recipe, for instance --set train=1000.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Emoji font with PNG bitmaps; by default Noto Color Emoji where distributions install it.
    #[arg(long, value_name = "FILE")]
    font: Option<PathBuf>,
    /// Folder with the unpacked npm packages cldr-annotations-full and cldr-annotations-derived-full.
    #[arg(long, value_name = "DIR")]
    annotations: PathBuf,
    /// Folder with the fonts of signs and receipts.
    #[arg(long, value_name = "DIR", default_value = "/usr/share/fonts")]
    text_fonts: PathBuf,
    /// List of emoji in the form of the built-in one: "group: emoji emoji …" on each line.
    #[arg(long, value_name = "FILE")]
    classes: Option<PathBuf>,
}

impl Sources {
    fn open(&self) -> anyhow::Result<(SynthRecipe, World)> {
        let toml = self.recipe.as_deref().map_or(Ok(String::new()), read)?;
        let named = || self.recipe.as_deref().unwrap_or(Path::new("recipe")).display().to_string();
        let recipe = SynthRecipe::parse(&toml, &self.overrides).with_context(named)?;
        let classes = self.classes.as_deref().map(read).transpose()?;
        let annotations = Annotations::open(&self.annotations, &recipe.languages)?;
        let mut world = World::new(&EmojiFont::open(self.font.as_deref())?, &annotations, &recipe.languages, classes.as_deref())?;
        if recipe.words_share > 0.0 {
            world = world.with_typefaces(&self.text_fonts)?;
        }
        Ok((recipe, world))
    }
}

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<()> {
    match arguments.product {
        Product::Shards { sources, second_font, output } => shards(&sources, second_font.as_deref(), &output),
        Product::Samples { sources, output } => {
            let (recipe, world) = sources.open()?;
            Ok(write_samples(&world, &recipe, &output)?)
        }
        Product::Palette { sources, output } => {
            let (_, world) = sources.open()?;
            Ok(write_palette(&world, &output)?)
        }
        Product::Tokenizer { sources, output } => {
            let (recipe, world) = sources.open()?;
            Ok(write_tokenizer(&world, &recipe, &output)?)
        }
        Product::Sheet { sources, test, first, output } => {
            let (recipe, world) = sources.open()?;
            let split = if test { Split::Test } else { Split::Train };
            let sheet = contact_sheet(&world, &recipe, split, first, [4, 6]);
            sheet.save_with_format(&output, image::ImageFormat::Png).with_context(|| output.display().to_string())
        }
    }
}

fn shards(sources: &Sources, second_font: Option<&Path>, output: &Path) -> anyhow::Result<()> {
    let (recipe, world) = sources.open()?;
    let mut generator = Generator::new(&recipe, &world, output)?;
    let terminal = std::io::stderr().is_terminal();
    let mut progress = |set: &str, done: usize, all: usize| {
        if terminal || done == all {
            eprint!("\r{set}: {done} of {all} scenes{}", if done == all { "\n" } else { "" });
            let _ = std::io::stderr().flush();
        }
    };
    generator.all(&mut progress)?;
    if let Some(folder) = second_font {
        let (_, second) = sources.open()?;
        let second = second.with_pictures(&EmojiFont::open(Some(folder))?)?;
        generator.held_out(&second, "-second-font", &mut progress)?;
    }
    for (name, set) in &generator.report().sets {
        let megabytes = set.bytes as f64 / 1e6;
        println!(
            "{name}: {} scenes, {megabytes:.1} MB, {:.0} images/s, {} drawn anew, {} near-duplicates left",
            set.members, set.images_per_sec, set.redrawn, set.near_duplicates
        );
    }
    println!("{} emoji, {} of them classes; {}", generator.report().glyphs, generator.report().classes, output.display());
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
