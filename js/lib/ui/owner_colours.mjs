// Colours for "whose patch is this": eight that stay apart with every kind of colour blindness (Okabe and Ito). Pure.

const COLOURS = ["#e69f00", "#56b4e9", "#cc79a7", "#009e73", "#d55e00", "#0072b2", "#f0e442", "#999999"];

/** @param {number} index */
export const ownerColour = (index) => COLOURS[index % COLOURS.length] ?? "#999999";
