// Which files a search finds, and where it found the words. Pure.

/** @param {string} text */
const plain = (text) => (/^[ -~]*$/.test(text) ? text : text.normalize("NFKC")).toLowerCase();

/**
 * The names that have all words of a search, in any order; those whose own name begins with the first word come first.
 * @param {string[]} names
 * @param {string} search
 * @param {(name: string) => string} [more] other text of a file that counts, its trigger words
 */
export function findNames(names, search, more = () => "") {
  const words = plain(search).split(/\s+/).filter(Boolean);
  if (words.length === 0) return names;
  const found = names.filter((name) => {
    const text = plain(`${name} ${more(name)}`);
    return words.every((word) => text.includes(word));
  });
  const first = words[0] ?? "";
  const begins = (/** @type {string} */ name) => plain(name.split(/[\\/]/).pop() ?? name).startsWith(first);
  return [...found.filter(begins), ...found.filter((name) => !begins(name))];
}

/**
 * The folders of the names, each with how many lie in it or below.
 * @param {string[]} names
 * @returns {Map<string, number>} by path with `/`
 */
export function foldersOf(names) {
  /** @type {Map<string, number>} */
  const folders = new Map();
  for (const name of names) {
    const parts = name.split(/[\\/]/).slice(0, -1);
    for (let length = 1; length <= parts.length; length += 1) {
      const folder = parts.slice(0, length).join("/");
      folders.set(folder, (folders.get(folder) ?? 0) + 1);
    }
  }
  return new Map([...folders].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** @param {string} name @param {string} folder with `/`; empty for all */
export const isIn = (name, folder) => folder === "" || name.replaceAll("\\", "/").startsWith(`${folder}/`);

/** @type {Record<string, number>} */
const PLACES = { ok: 0, warning: 1, error: 3 };

/**
 * What fits first, what does not last, what is not known between them; otherwise in the order that they have.
 * @param {string[]} names
 * @param {(name: string) => string | undefined} level
 */
export function fittingFirst(names, level) {
  return names.map((name, at) => ({ name, at, place: PLACES[level(name) ?? ""] ?? 2 })).sort((a, b) => a.place - b.place || a.at - b.at).map(({ name }) => name);
}
