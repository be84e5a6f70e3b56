-- Customers who bought on at least three days of the period.
-- Bound: period_start (the first day) and period_end (the day after the last), dates or their ISO text.
SELECT l.dim_event_user_id AS customer_id
FROM bill_lineitems AS l
JOIN date AS d ON d.date_id = l.dim_event_date_id
JOIN users AS u ON u.user_id = l.dim_event_user_id
WHERE d.date >= CAST(:period_start AS VARCHAR(10))
  AND d.date < CAST(:period_end AS VARCHAR(10))
  -- A flag that was never captured is no reason to leave a customer out.
  AND COALESCE(u.is_merged_customer, '') <> 'true'
  AND COALESCE(u.is_inactive, '') <> 'true'
  AND COALESCE(u.fraud_status, '') NOT IN ('Marked', 'Confirmed', 'Reconfirmed', 'Internal')
GROUP BY l.dim_event_user_id
HAVING COUNT(DISTINCT l.dim_event_date_id) >= 3
ORDER BY l.dim_event_user_id
