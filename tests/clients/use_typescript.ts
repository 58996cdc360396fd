// What a user of the generated TypeScript types writes; it prints what it was answered.
import createClient from "openapi-fetch";
import type { components, paths } from "./fleetwatt.d.ts";

type Warning = components["schemas"]["SummaryWarning"];

const url = process.argv[2];
if (url === undefined) throw new Error("usage: use_typescript.js URL");
// A series comes as CSV, too, where a client asks for that.
const client = createClient<paths, "application/json" | "application/problem+json">({ baseUrl: url });
const start = "2024-02-09T10:00:00Z";
const end = "2024-02-09T11:00:00Z";

function given<Data>(answer: { data?: Data; error?: unknown }): Data {
  if (answer.data === undefined) throw new Error(JSON.stringify(answer.error));
  return answer.data;
}

// The types know of both answers; without `accept=queued` only the first one comes.
function accepted(result: { accepted: number } | { queued: number }): number {
  if (!("accepted" in result)) throw new Error(JSON.stringify(result));
  return result.accepted;
}

const minutes = [0, 1];
const stored = given(
  await client.POST("/v1/ingestion/meter", {
    body: minutes.map((minute) => ({
      meterId: "M-1",
      kwhConsumedAc: 100 + 2 * minute,
      voltage: 230,
      timestamp: `2024-02-09T10:0${minute}:00Z`,
    })),
  }),
);
const also = given(
  await client.POST("/v1/ingestion/vehicle", {
    body: minutes.map((minute) => ({
      vehicleId: "V-1",
      soc: null,
      kwhDeliveredDc: 50 + 1.8 * minute,
      batteryTemp: 21.5,
      timestamp: `2024-02-09T10:0${minute}:00Z`,
    })),
  }),
);
const mapped = given(
  await client.POST("/v1/ingestion/mapping", { body: { vehicleId: "V-1", meterId: "M-1" } }),
);
const vehicle = { path: { vehicleId: "V-1" } };
const summary = given(
  await client.GET("/v1/analytics/performance/{vehicleId}", {
    params: { ...vehicle, query: { start, end } },
  }),
);
const status = given(await client.GET("/v1/status/vehicles/{vehicleId}", { params: vehicle }));
const series = given(
  await client.GET("/v1/analytics/vehicles/{vehicleId}/series", {
    params: { ...vehicle, query: { start, end, bucket: "1h" } },
  }),
);
const page = given(
  await client.GET("/v1/analytics/performance", {
    params: { query: { start, end, sort: "-kwhConsumedAc" } },
  }),
);
const unknown = await client.GET("/v1/status/vehicles/{vehicleId}", {
  params: { path: { vehicleId: "nobody" } },
});
const ready = given(await client.GET("/readyz"));
const usual: Warning = "low_coverage";

console.log(
  JSON.stringify({
    accepted: accepted(stored) + accepted(also),
    mappingWarnings: mapped.warnings,
    kwhConsumedAc: summary.kwhConsumedAc,
    kwhDeliveredDc: Number((summary.kwhDeliveredDc ?? 0).toFixed(9)),
    warnings: summary.warnings.filter((warning) => warning !== usual),
    statusTimestamp: status.timestamp,
    buckets: series.items.length,
    orders: page.items.map((item) => item.vehicleId),
    problem: unknown.error?.type,
    version: ready.version,
  }),
);
