// Runs before anything is painted, so that no page flashes in the wrong colours.
"use strict";
{
  let chosen = null;
  try {
    chosen = localStorage.getItem("fleetwatt.theme");
  } catch {
    // Storage is off: the system's colours hold.
  }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
}
