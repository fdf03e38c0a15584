// Run a Python script under Pyodide:  node pyodide_run.mjs PYODIDE FOLDER SCRIPT [PATH...]
// FOLDER is mounted as the working directory's parent; SCRIPT lies in it, and so do the entries PATH of sys.path.
import { pathToFileURL } from "node:url";

const [folder, root, script, ...paths] = process.argv.slice(2);
const { loadPyodide } = await import(pathToFileURL(`${folder}/pyodide.mjs`).href);
const py = await loadPyodide({ indexURL: folder });
await py.loadPackage(["numpy", "matplotlib", "threadpoolctl"], { messageCallback: () => {} });
py.mountNodeFS("/mounted", root);
py.globals.set("script", script);
py.globals.set("paths", py.toPy(paths));
py.runPython(`
import os, runpy, sys
import matplotlib
matplotlib.use("Agg")
sys.path[:0] = ["/mounted/" + path for path in paths]
os.chdir(os.path.dirname("/mounted/" + script))
runpy.run_path(os.path.basename(script), run_name="__main__")
`);
