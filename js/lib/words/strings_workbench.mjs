// What the report card says where it compares, in both languages. `strings.mjs` tells the signs.

/** @type {Record<string, Record<string, string>>} */
export const WORKBENCH_STRINGS = {
  en: {
    "found.label": "LoRAs that were looked for",
    "found.is.verified": "In it",
    "found.is.partly": "In part",
    "found.is.not": "Not in it",
    "found.is.cannot tell": "Cannot be told",
    "found.error": "Strength, standard error {error}",
    "found.exact": "{n} of {layers} weights come out the same byte for byte when it is merged again",
    "found.strip": "Strength in each block",
    "found.cell": "strength {strength}",
    "found.untouched": "not changed by it",
    "found.rest": "{rest} of the difference not explained",
  },
  ja: {
    "found.label": "探したLoRA",
    "found.is.verified": "あり",
    "found.is.partly": "一部あり",
    "found.is.not": "なし",
    "found.is.cannot tell": "判断不能",
    "found.error": "強度（標準誤差 {error}）",
    "found.exact": "統合し直すと {layers} 個中 {n} 個の重みがバイト単位で一致",
    "found.strip": "ブロックごとの強度",
    "found.cell": "強度 {strength}",
    "found.untouched": "変更なし",
    "found.rest": "差の {rest} は説明できません",
  },
};
