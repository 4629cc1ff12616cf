//! Every sentence of the interface, in both of its languages.

/// Languages of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    English,
    Japanese,
}

impl Language {
    /// The first of a person's languages that the interface has; English if there is none.
    pub(super) fn best(wanted: &[String]) -> Self {
        let known = |tag: &String| match tag.split(['-', '_']).next() {
            Some("ja") => Some(Self::Japanese),
            Some("en") => Some(Self::English),
            _ => None,
        };
        wanted.iter().find_map(known).unwrap_or(Self::English)
    }

    /// As in a tag, "en".
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Japanese => "ja",
        }
    }

    pub(super) fn other(self) -> Self {
        match self {
            Self::English => Self::Japanese,
            Self::Japanese => Self::English,
        }
    }
}

macro_rules! strings {
    ($($name:ident: $english:literal, $japanese:literal;)*) => {
        /// A sentence, without its language.
        #[cfg_attr(not(feature = "index"), allow(dead_code, reason = "that workspace is absent"))]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Text {
            $($name,)*
        }

        impl Text {
            pub(super) fn get(self, language: Language) -> &'static str {
                match (self, language) {
                    $((Self::$name, Language::English) => $english, (Self::$name, Language::Japanese) => $japanese,)*
                }
            }
        }

        #[cfg(test)]
        const ALL: &[Text] = &[$(Text::$name,)*];
    };
}

strings! {
    // The window.
    Stage: "Stage", "ステージ";
    Classify: "Classify", "分類";
    Features: "Features", "特徴";
    StageHint: "Play with emoji and watch the model think", "絵文字を動かして、モデルの判断を見る";
    ClassifyHint: "Which of these labels fits a picture?", "画像に合うラベルを調べる";
    FeaturesHint: "What does each patch of a picture say?", "画像の各パッチの特徴を見る";
    Retrieve: "Retrieve", "検索";
    RetrieveHint: "Find pictures of a folder by words, by pictures, or both", "フォルダの画像を言葉や画像で探す";
    OtherLanguage: "日本語", "English";
    DarkTheme: "Dark", "ダーク";
    LightTheme: "Light", "ライト";
    ThemeHint: "Dark or light", "ダーク／ライトの切り替え";
    Close: "Close", "閉じる";
    Cancel: "Cancel", "中止";
    Saved: "Saved", "保存しました";

    // The model.
    Model: "Model", "モデル";
    ModelHint: "Open another model", "別のモデルを開く";
    NoModel: "No model is open.", "モデルが開かれていません。";
    DemoModel: "demo (emoji only)", "デモ（絵文字のみ）";
    DemoAbout: "3 million parameters, inside this program. It knows emoji in 16 languages and nothing else.", "300万パラメータ、プログラムに内蔵。16言語の絵文字だけを知っています。";
    Open: "Open", "開く";
    OpenFolder: "Open a folder…", "フォルダを開く…";
    OpenFiles: "Open a checkpoint's files…", "チェックポイントのファイルを開く…";
    OpenByName: "Open from the hub, or a folder", "Hubまたはフォルダから開く";
    HubIdHint: "google/siglip2-base-patch16-naflex", "google/siglip2-base-patch16-naflex";
    Released: "Released by Google", "Googleが公開したモデル";
    DownloadSize: "download", "ダウンロード";
    RevisionHint: "Branch, tag or commit; main if empty", "ブランチ、タグ、コミット。空ならmain";
    Memory: "memory", "メモリ";
    MemoryHint: "Weights as 32-bit numbers; the table of tokens stays in its file", "32ビットの重み。トークン表はファイルのままです";
    IsStored: "downloaded", "ダウンロード済み";
    NoRoom: "no room", "空き不足";
    NoRoomHint: "The browser does not give this site that much space. Delete a model here, or free space on the disk.", "ブラウザがこのサイトに許す容量が足りません。ここでモデルを削除するか、ディスクの空きを増やしてください。";
    NeedsGpu: "needs a large GPU", "大きなGPUが必要";
    NeedsGpuHint: "Without a GPU a page has 4 GB of memory, and this model takes more. On a GPU it takes as much of the GPU's memory.", "GPUなしのページが使えるメモリは4GBまでで、このモデルには足りません。GPUでは同じ量のGPUメモリを使います。";
    Downloaded: "Downloaded models", "ダウンロード済みのモデル";
    NothingDownloaded: "None yet. A model of the hub is kept in this browser, and opens offline the next time.", "まだありません。Hubのモデルはこのブラウザに保存され、次からはオフラインで開けます。";
    Incomplete: "incomplete: opening it resumes", "未完了：開くと再開します";
    Delete: "Delete", "削除";
    IsOpen: "It is in use. Open another model to delete it.", "使用中です。削除するには別のモデルを開いてください。";
    StorageUse: "Space in use by this site", "このサイトの使用容量";
    NaFlex: "any shape", "任意の縦横比";
    Loading: "Opening the model", "モデルを開いています";
    StageDownload: "downloading", "ダウンロード中";
    StageWait: "another tab is downloading it, or has it open in part", "別のタブがダウンロード中、または一部だけ開いています";
    StageCheck: "checking the stored files", "保存したファイルを検査中";
    StageLoad: "reading files, choosing a device", "ファイルを読み、デバイスを選択中";
    StageVision: "preparing the vision tower", "画像タワーを準備中";
    StageTextTower: "preparing the text tower", "テキストタワーを準備中";
    StageTexts: "encoding texts", "テキストを計算中";
    StageComparison: "comparing pictures", "画像を比較中";
    StagePictures: "encoding pictures", "画像を計算中";
    StageImage: "encoding the picture", "画像を計算中";
    DeviceHint: "Where the model computes, and in which precision", "モデルを計算する場所と精度";
    TableComing: "the table of words is being downloaded", "単語の表をダウンロード中";
    TableComingHint: "Pictures can be looked at already. Words follow when their table is here and the model was checked.", "画像はもう見られます。単語は、表が届きモデルの検査が済むと使えます。";
    TableFetch: "Go on", "再開";
    LightMode: "Light: leave the table of words at the hub", "軽量：単語の表をHubに置いたまま使う";
    LightHint: "About half of the download. For each new word its rows of the table are fetched, so the hub could infer the words that you type. Nothing of this is checked against the published digest.", "ダウンロードは約半分です。新しい単語ごとに表の行を取得するので、入力した単語をHubが推測できます。公開された検査値との照合もできません。";
    LightLine: "Light: words are looked up at the hub", "軽量：単語をHubに問い合わせます";
    IsLight: "light: without the table of words", "軽量：単語の表なし";
    Offline: "Nothing leaves this computer", "データはこの端末から出ません";

    // The stage.
    StageEmpty: "Tap an emoji below to put it on the stage.", "下の絵文字をタップしてステージに置きましょう。";
    StageKeys: "Drag to move · scroll to resize · double-click to remove.\nKeyboard: N next, arrows move, + − size, [ ] turn, Delete removes.", "ドラッグで移動・スクロールで拡大縮小・ダブルクリックで削除。\nキーボード：Nで次、矢印で移動、＋−で大きさ、[ ]で回転、Deleteで削除。";
    Phrases: "Phrases", "フレーズ";
    PhrasesHint: "One per line, in any language", "1行に1つ、どの言語でも";
    Word: "Light up", "光らせる";
    WordHint: "Type a word in any language, or point at a bar", "どの言語の単語でも入力、または棒を指す";
    Languages: "In 12 languages", "12言語で";
    LanguagesHint: "The same ranking with the phrases' names in other languages", "フレーズを他の言語に訳した順位";
    Untranslated: "Only names of emoji on the palette are translated.", "翻訳されるのはパレットの絵文字名だけです。";
    Frame: "Frame", "枠";
    FrameHint: "Pull the right edge of the frame: the model sees any shape from 1:4 to 4:1", "枠の右端を引くと、1:4から4:1までの形を試せます";
    Grid: "Patches", "パッチ";
    GridHint: "Show the patches that the model sees", "モデルが見るパッチを表示";
    Background: "Background", "背景";
    Clear: "Clear", "消去";
    Surprise: "Surprise me", "おまかせ";
    Share: "Copy link", "リンクをコピー";
    ShareHint: "A link that opens this scene with these phrases", "この場面とフレーズを開くリンク";
    LinkCopied: "The link is on the clipboard.", "リンクをコピーしました。";
    StageFull: "The stage is full; remove something first.", "ステージがいっぱいです。先に何か取り除いてください。";
    KnowsEmoji: "This small model knows emoji scenes only. Photos need a SigLIP 2 model.", "この小さなモデルは絵文字だけを知っています。写真にはSigLIP 2のモデルが必要です。";
    ChooseModel: "Choose one…", "選ぶ…";
    Faster: "Computed in", "計算時間";

    // Pictures.
    AddPictures: "Add pictures…", "画像を追加…";
    DropHere: "Drop pictures here, paste one, or begin with a sample.", "画像をドロップ、貼り付け、またはサンプルから始めましょう。";
    AddressHint: "https://… and Enter", "https://… を入力してEnter";
    Camera: "Camera", "カメラ";
    NoCamera: "The camera cannot be used", "カメラを使えません";
    CameraHint: "Looks again and again, as fast as the model can. Nothing is stored or sent.", "モデルの速さで繰り返し見ます。保存も送信もしません。";
    FramesPerSecond: "frames/s", "コマ/秒";
    Samples: "Samples", "サンプル";
    Remove: "Remove", "削除";

    // Classify.
    Labels: "Labels", "ラベル";
    LabelsHint: "One per line, in any language and script", "1行に1つ、どの言語・文字でも";
    Template: "Template", "テンプレート";
    TemplateHint: "The sentence around each label; {} is the label", "ラベルを入れる文。{} がラベル";
    TemplateAsTyped: "as typed", "そのまま";
    TemplateForeign: "The template is in another script than some labels.", "テンプレートと文字体系の違うラベルがあります。";
    TextsRead: "What the model reads", "モデルが読む文";
    Tokens: "tokens", "トークン";
    Truncated: "too long: its end is cut off", "長すぎるため末尾が切れます";
    Budget: "Patches", "パッチ数";
    BudgetHint: "More patches show finer detail and take longer", "多いほど細部が見え、時間がかかります";
    Logit: "logit", "ロジット";
    LogitHint: "scale · cosine + bias: what the model computes", "scale · cos + bias：モデルの出力";
    Probability: "probability", "確率";
    ProbabilityHint: "Sigmoid of the logit: does this label alone fit? Often small even for the right one.", "ロジットのシグモイド：そのラベル単独で合うか。正解でも小さいことがあります。";
    ShareOf: "share", "割合";
    ShareOfHint: "Softmax over these labels: which of them fits best?", "これらのラベルの中でのソフトマックス";
    NoPicture: "No picture yet.", "画像がありません。";
    NoLabels: "Type a label.", "ラベルを入力してください。";
    Ranking: "Rank among 1,000 captions", "1,000個のキャプション中の順位";
    RankingHint: "A right match often has a small sigmoid; that it beats nearly everything else says more.", "正解でもシグモイドは小さいことが多く、他の何より高いかの方が参考になります。";
    HigherThan: "{} fits better than {} of {} other captions", "「{}」は他のキャプションの{}（全{}個）より合っています";
    Calibration: "Explore calibration", "較正を試す";
    CalibrationHint: "Change scale and bias and see what happens to probabilities. Exports say so.", "scaleとbiasを変えて確率の変化を見ます。書き出しにも記録されます。";
    Scale: "Scale", "スケール";
    Bias: "Bias", "バイアス";
    Reset: "Reset", "元に戻す";
    Table: "All pictures", "全画像";
    ExportCsv: "Export CSV", "CSVを書き出す";
    ExportJson: "Export JSON", "JSONを書き出す";
    Best: "best label", "最良のラベル";
    Picture: "picture", "画像";

    // Features.
    View: "View", "表示";
    ViewPca: "Principal components", "主成分";
    ViewPcaHint: "The three directions in which patches differ most, as red, green and blue", "パッチの違いが最大の3方向を赤・緑・青で表示";
    Foreground: "Foreground only", "前景のみ";
    ForegroundHint: "Leaves out what surrounds things, and colours what is left", "背景を除き、残りを色分けします";
    SharedColours: "The same colours in all pictures", "全画像で同じ色";
    SharedColoursHint: "One colour means the same in each of them", "どの画像でも同じ色が同じ意味になります";
    ViewSimilar: "Similarity", "類似度";
    ViewSimilarHint: "How like each patch is to the one under the pointer", "ポインタの下のパッチとの類似度";
    ViewPhrase: "Phrase", "フレーズ";
    ViewPhraseHint: "How well each patch fits the phrase, beside the other phrases", "各パッチがフレーズに合う度合い";
    ViewSegment: "Segmentation", "領域分割";
    ViewSegmentHint: "Which of several phrases fits each place best", "各場所に最も合うフレーズ";
    ViewGroups: "Groups", "グループ";
    ViewGroupsHint: "k-means: patches that are like each other", "k-means：似たパッチ同士";
    ViewAttention: "Attention", "注意";
    ViewAttentionHint: "Where the pooling head looks", "プーリングヘッドの注目箇所";
    Count: "Number", "数";
    Layer: "Layer", "層";
    LastLayer: "last", "最後";
    Opacity: "Opacity", "不透明度";
    Smooth: "Smooth", "なめらか";
    MaskOutliers: "Leave out outlier channels", "外れチャンネルを除く";
    Outliers: "Outlier channels", "外れチャンネル";
    AllHeads: "mean of heads", "全ヘッドの平均";
    Head: "Head", "ヘッド";
    SavePng: "Save PNG", "PNGを保存";
    SaveNpy: "Save features (.npy)", "特徴を保存 (.npy)";
    PointAt: "Point at a patch. Click to keep it, for other pictures too.", "パッチを指してください。クリックで固定し、他の画像とも比べられます。";
    ComparedWith: "Compared with the patch that was clicked in {}", "{}でクリックしたパッチと比較中";

    // Retrieve.
    NoFolder: "Search your pictures", "自分の画像を検索";
    NoFolderHint: "Choose a folder. Its pictures are looked at once, on this computer, and can then be found by words in any language.", "フォルダを選ぶと、この端末で一度だけ画像を計算し、どの言語の言葉でも探せるようになります。";
    ChooseFolder: "Choose a folder…", "フォルダを選ぶ…";
    Folder: "Folder", "フォルダ";
    UpdateFolder: "Update", "更新";
    UpdateFolderHint: "Look for pictures that are new, changed or gone", "追加・変更・削除された画像を調べます";
    DeleteIndex: "Forget", "索引を削除";
    DeleteIndexSure: "Really forget it", "本当に削除する";
    DeleteIndexHint: "Deletes the index of this folder. The pictures stay.", "このフォルダの索引を削除します。画像は残ります。";
    IndexingOf: "Indexing {}", "{} の索引を作成中";
    IndexingRate: "{} pictures/s, {} min left", "毎秒{}枚、残り{}分";
    Pause: "Pause", "一時停止";
    Resume: "Go on", "再開";
    IndexedWith: "This folder was indexed with {}, which is not open: its pictures can be looked at, not searched.", "このフォルダの索引は{}で作られています。開いていないため、検索はできません。";
    OpenModel: "Open {}", "{}を開く";
    IndexWithThis: "Index it with the open model", "開いているモデルで索引を作る";
    IndexedReport: "{} added or changed, {} gone", "追加・変更{}枚、削除{}枚";
    Rebuilt: "The index was damaged and has been made anew ({}).", "索引が壊れていたため作り直しました（{}）。";
    Unreadable: "Files that cannot be read: {}…", "読めないファイル：{}個…";
    LeftOut: "Left out…", "対象外のファイル…";
    Query: "Find", "探す";
    QueryHint: "red car   ·   2: 赤い車 + ./sketch.png - people", "赤い車   ·   2: red car + ./sketch.png - 人";
    QueryHelp: "Words in any language; a picture's path; sums of both with + and -, and weights before a colon. Drop a picture here to look for it. Ctrl+F comes here.", "どの言語の言葉でも、画像のパスでも。＋と－で足し引きし、コロンの前に重みを書けます。画像をドロップしても探せます。Ctrl+Fでここに移動。";
    Within: "At least", "下限";
    WithinHint: "Leaves out what stands out from ordinary pictures less than this share of how far the best result does", "最良の結果が普通の画像からどれだけ抜きん出ているかに対し、この割合に満たないものを除きます";
    Alike: "Near-duplicates", "ほぼ同じ画像";
    AlikeHint: "Groups of pictures that are nearly the same", "ほとんど同じ画像をまとめて表示";
    AlikeLeast: "Alike from", "類似度の下限";
    AlikeLeastHint: "Cosine of two pictures from which they count as nearly the same", "この値以上のコサイン類似度を「ほぼ同じ」とみなします";
    AlikeOf: "{} groups of near-duplicates among {} pictures", "ほぼ同じ画像：{}組（全{}枚）";
    Map: "Map", "マップ";
    MapHint: "All pictures on a plane, those that are alike near each other. Draw around some to see these alone; the wheel zooms, the right button moves, Esc lets go.", "すべての画像を平面に並べ、似た画像を近くに置きます。囲むとその画像だけを表示。ホイールで拡大、右ボタンで移動、Escで解除。";
    MapOf: "Map of {} pictures, {} chosen", "{}枚のマップ、{}枚を選択中";
    Arranging: "Arranging by neighbours…", "近い画像どうしを並べ替えています…";
    MapAll: "Show all", "全体を表示";
    FoundOf: "{} of {} pictures", "{} / {} 枚";
    SearchTimes: "query {} ms, search {} ms", "クエリ {} ms、検索 {} ms";
    ShowScores: "Scores", "スコア";
    NothingFound: "Nothing was found.", "見つかりませんでした。";
    MoreLikeThis: "More like this", "これに似たもの";
    LessLikeThis: "Less like this", "これに似ていないもの";
    Reveal: "Show in folder", "フォルダで表示";
    CopyFile: "Copy file", "ファイルをコピー";
    CopyPath: "Copy path", "パスをコピー";
    Back: "Back", "戻る";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn japanese_is_japanese_and_has_the_same_places() {
        for text in ALL {
            let [english, japanese] = [Language::English, Language::Japanese].map(|language| text.get(language));
            assert_eq!(english.matches("{}").count(), japanese.matches("{}").count(), "{english}");
            let is_name = matches!(text, Text::HubIdHint | Text::OtherLanguage);
            assert!(is_name || japanese.chars().any(|letter| letter > '\u{3000}'), "{japanese}");
        }
    }

    #[test]
    fn the_best_language_is_the_first_known_one() {
        let best = |tags: &[&str]| Language::best(&tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>());
        assert_eq!(best(&["fr-FR", "ja-JP", "en"]), Language::Japanese);
        assert_eq!(best(&["en_GB.UTF-8", "ja"]), Language::English);
        assert_eq!(best(&["xx"]), Language::English);
    }
}
