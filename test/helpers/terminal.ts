/**
 * Returns the text on a terminal after all output.
 *
 * @param text What was written to it.
 * @param width Its columns: longer lines go on in the next row.
 * @param height Its rows: the cursor does not go back to what has left it above.
 * @returns Its rows, those that have left it included, without empty ones at the end and spaces at their ends.
 */
export function screenOf(text: string, width: number, height: number): string[] {
  const rows: string[][] = [[]];
  let [row, column] = [0, 0];
  const at = (index: number): string[] => {
    while (rows.length <= index) rows.push([]);
    return rows[index] as string[];
  };
  // biome-ignore lint/suspicious/noControlCharactersInRegex: an order to a terminal begins with one
  for (const [sign, count, order] of text.matchAll(/\x1b\[(\??[\d;]*)([A-Za-z])|./gsu)) {
    if (order === "A") row = Math.max(0, rows.length - height, row - Number(count || 1));
    else if (order === "J") {
      rows.length = row + 1;
      at(row).length = Math.min(at(row).length, column);
    } else if (order === "K") at(row).length = 0;
    else if (order !== undefined) continue;
    else if (sign === "\r") column = 0;
    else if (sign === "\n") {
      column = 0;
      at(++row);
    } else {
      if (column === width) {
        column = 0;
        row++;
      }
      const line = at(row);
      while (line.length < column) line.push(" ");
      line[column++] = sign;
    }
  }
  const lines = rows.map((line) => line.join("").trimEnd());
  while (lines.at(-1) === "") lines.pop();
  return lines;
}
