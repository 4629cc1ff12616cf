/** Why a call did not work. */
export type ErrorKind =
  /** Its signal was aborted; `cause` is the signal's reason. */
  | "cancelled"
  /** The input is at fault: a damaged picture, a text that is too long, a template without a place for the label. */
  | "input"
  /** The model or its device is at fault: a file is missing or damaged, there is no WebGPU. */
  | "model"
  /** What was downloaded is not what the hub publishes. It was thrown away; loading the model again downloads it anew. */
  | "damaged"
  /** The browser's storage is at fault: it is full, not to be had, or in use by another tab. */
  | "storage"
  /** The worker stopped twice over this call, or could not be started. The model can be used on. */
  | "crashed"
  /** The model was closed. */
  | "closed";

/** What every function here throws or rejects with. Its message says what was wrong and what to do. */
export class PolyglanceError extends Error {
  readonly kind: ErrorKind;
}

/** What a call is busy with. */
export interface Progress {
  stage: "wait" | "download" | "check" | "load" | "vision_tower" | "text_tower" | "texts" | "image";
  /** Bytes of a download or a check, texts or steps. `wait` is for another tab that downloads the same model, or has it open in part. */
  done: number;
  /** The same when it is finished; 0 while nobody knows. */
  total: number;
}

export interface CallOptions {
  /** Cancels the call. */
  signal?: AbortSignal;
  /** Hears how the call gets on, at most 20 times a second. */
  onProgress?: (progress: Progress) => void;
}

export interface LoadOptions extends CallOptions {
  /**
   * `demo`, the small model that comes with this package and knows emoji scenes and no photos; or a model of the Hugging Face hub by its id. That is
   * downloaded into the browser's storage for this site, resumed where it stopped, checked, and opened from there the next time without a request.
   */
  model?: "demo" | `${string}/${string}`;
  /** Branch, tag or commit of a model of the hub; `main` if absent. A branch stays what it was when the model was downloaded. */
  revision?: string;
  /**
   * A model of Hugging Face's form instead: `config.json`, `model.safetensors` or its shards with their index, `tokenizer.json` for texts,
   * `preprocessor_config.json` if it came with one. Read by slice, never whole.
   */
  files?: Iterable<File>;
  /**
   * Leaves the token table of a model of the hub where it is, which is about half of the download: its rows are fetched when a text has their tokens, so
   * that the hub could infer the words, and nothing is checked against the published digest. False if absent.
   */
  light?: boolean;
  /** `auto` takes a hardware GPU that computes right, else the CPU. */
  device?: "auto" | "gpu" | "cpu";
  /** How weights are stored: `f16` halves their memory on a GPU. `auto` is `f32`. */
  precision?: "auto" | "f32" | "f16";
}

/** An encoded picture: PNG, JPEG, WebP, GIF, BMP or TIFF. */
export type ImageInput = Blob | ArrayBuffer | Uint8Array;

export interface ImageOptions extends CallOptions {
  /** Most patches, for a NaFlex model; its own default if absent. */
  maxNumPatches?: number;
}

export interface ClassifyOptions extends ImageOptions {
  /** Each label is put in place of `{}`, and the embeddings of a label's texts are averaged. `["{}"]` if absent. */
  templates?: string[];
}

export interface FeatureOptions extends ImageOptions {
  /** The block after which features are taken, counted from 0; after the last LayerNorm if absent. */
  layer?: number;
}

/** How well a label fits a picture. */
export interface LabelScore {
  label: string;
  /** exp(logitScale) · cosine + logitBias, the model's own output. */
  logit: number;
  /** Sigmoid of the logit: whether this label is right, whatever the others are. Often low even for a right one. */
  probability: number;
  /** Softmax of the logits over the labels of the call. */
  share: number;
}

/** Features of every patch, row by row: `values[(row * cols + col) * channels + channel]`. */
export interface PatchFeatures {
  rows: number;
  cols: number;
  channels: number;
  values: Float32Array;
}

export interface ModelInfo {
  /** Side of a patch in pixels. */
  patchSize: number;
  /** The default budget of a NaFlex model; null for one of fixed resolution. */
  maxNumPatches: number | null;
  /** Side of a fixed-resolution model's input in pixels; null for a NaFlex model. */
  imageSize: number | null;
  /** Blocks of the vision tower. */
  depth: number;
  /** Width of the vision tower. */
  width: number;
  /** Tokens of a text. */
  positions: number;
  parameters: number;
  logitScale: number;
  logitBias: number;
  /** Where the token table is: `remote` for a light model that was not downloaded whole before, and is large enough to have parts. */
  table: "here" | "remote";
  /** What it runs on: backend, adapter, precision. */
  device: string;
  /** Why not on what one would expect. */
  deviceReason: string | null;
}

/** A model in a worker of its own. Calls are done one after another. */
export interface Model {
  readonly info: ModelInfo;
  /** An embedding of unit length for each picture. */
  embedImages(images: Iterable<ImageInput>, options?: ImageOptions): Promise<Float32Array[]>;
  /** An embedding of unit length for each text. */
  embedTexts(texts: Iterable<string>, options?: CallOptions): Promise<Float32Array[]>;
  /** Compares a picture with labels; scores in the labels' order. */
  classify(image: ImageInput, labels: Iterable<string>, options?: ClassifyOptions): Promise<LabelScore[]>;
  /** What the vision tower makes of each patch. */
  patchFeatures(image: ImageInput, options?: FeatureOptions): Promise<PatchFeatures>;
  /** Ends the worker. Calls that wait are rejected. */
  close(): void;
}

/** Starts a worker and loads a model in it. */
export function load(options?: LoadOptions): Promise<Model>;

/** A model of the hub in the browser's storage. */
export interface StoredModel {
  /** `owner/name` */
  name: string;
  revision: string;
  bytes: number;
  /** If not, loading it resumes the download. */
  complete: boolean;
  /** Whether it is there as a light model at least. */
  light: boolean;
}

/** Models of the hub that this site has downloaded, and the bytes that it uses and may use. */
export function stored(): Promise<{ models: StoredModel[]; usage: number; quota: number | null }>;

/** Deletes one of them. It may not be in use, in another tab either. */
export function deleteStored(model: string, revision?: string): Promise<void>;
