mod config;
mod weights;
