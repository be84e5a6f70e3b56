-- Customers of the gold tier who do not hold the badge yet.
-- Bound: badge_id, the campaign's badge.
-- A customer promoted twice comes twice: the extractor keeps one and counts the other as a duplicate.
SELECT u.user_id AS customer_id
FROM users AS u
JOIN slab_change_log AS s ON s.dim_event_user_id = u.user_id AND s.slab_name = 'Gold'
WHERE u.slab_name = 'Gold'
  -- A flag that was never captured is no reason to leave a customer out.
  AND COALESCE(u.is_merged_customer, '') <> 'true'
  AND COALESCE(u.is_inactive, '') <> 'true'
  AND COALESCE(u.fraud_status, '') NOT IN ('Marked', 'Confirmed', 'Reconfirmed', 'Internal')
  -- A revoked badge (isActive = 'false') is not held.
  AND NOT EXISTS (
    SELECT 1
    FROM badges_issue AS b
    WHERE b.dim_badgeMeta_id = :badge_id
      AND b.dim_customer_id = u.user_id
      AND b.isActive = 'true'
  )
ORDER BY u.user_id
