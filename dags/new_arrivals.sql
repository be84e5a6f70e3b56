-- Customers whom partners signed up, with the ids as the partners typed them.
-- Bound: badge_id, the campaign's badge.
-- Ids that are none are not filtered here: the extractor names each of them with its reason.
SELECT p.customer_id
FROM partner_signups AS p
LEFT JOIN (
  SELECT CAST(u.user_id AS VARCHAR(20)) AS customer_id
  FROM users AS u
  WHERE u.is_merged_customer = 'true'
     OR u.is_inactive = 'true'
     OR u.fraud_status IN ('Marked', 'Confirmed', 'Reconfirmed', 'Internal')
  UNION
  SELECT CAST(b.dim_customer_id AS VARCHAR(20))
  FROM badges_issue AS b
  WHERE b.dim_badgeMeta_id = :badge_id
    AND b.isActive = 'true'
) AS barred ON barred.customer_id = p.customer_id
WHERE barred.customer_id IS NULL
ORDER BY p.signup_id
